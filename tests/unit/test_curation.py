"""The cards of the home screen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.curation import Best, Card, Goal, Wishes, cards, finishes
from media.hibari_speech import TIMBRES

NO_WISHES = Wishes()
BEST = Best("Quiet Centre", "meditate", "onyx", "Theta", 3)
KINDS = st.lists(st.sampled_from(["start", "complete", "abandon", "replay", "skip_affirmation", "mix_adjust"]))
WISHES = st.builds(
    Wishes,
    st.sampled_from([None, "Calm", "Focus", "Sleep", "Confidence", "Reset"]),
    st.sampled_from([None, "More space", "Balanced", "More guidance"]),
)


def card(slot: str, *, wishes: Wishes = NO_WISHES, best: Best | None = None, hour: int = 12, kinds: str = "") -> Card:
    (found,) = (one for one in cards(kinds.split(), wishes, best, hour) if one.slot == slot)
    return found


def app_takes_it_for(title: str) -> str:
    """As the app does."""
    words = {"focus": "Focus", "work": "Focus", "sleep": "Sleep", "downshift": "Sleep", "calm": "Anxiety Relief"}
    return next((kind for word, kind in {**words, "steady": "Anxiety Relief"}.items() if word in title.lower()), "")


@given(KINDS, WISHES, st.sampled_from([None, BEST]), st.integers(0, 23))
def test_every_card_is_one_the_app_can_show_and_start(
    kinds: list[str], wishes: Wishes, best: Best | None, hour: int
) -> None:
    found = cards(kinds, wishes, best, hour)
    slots = [one.slot for one in found]
    assert len(slots) == len(set(slots))
    assert ("tonight" in slots) is (hour >= 18 or hour < 6)
    assert ("your_best" in slots) is (best is not None)
    for one in found:
        assert one.voice_id in TIMBRES
        assert 0 < one.duration <= 600
        assert app_takes_it_for(one.title)


@pytest.mark.parametrize(
    "goal, hour, kind, preset",
    [
        ("Focus", 9, "Focus", "beta"),
        (None, 6, "Focus", "beta"),
        ("Calm", 11, "Focus", "beta"),
        ("Focus", 12, "Focus", "beta"),
        ("Focus", 23, "Sleep", "delta"),
        ("Sleep", 5, "Sleep", "delta"),
        (None, 18, "Sleep", "delta"),
        ("Sleep", 14, "Sleep", "delta"),
        ("Confidence", 17, "Anxiety Relief", "alpha"),
        (None, 14, "Anxiety Relief", "alpha"),
    ],
)
def test_the_first_card_fits_the_goal_and_the_hour(goal: Goal | None, hour: int, kind: str, preset: str) -> None:
    first = card("right_now_1", wishes=Wishes(goal), hour=hour)
    assert (app_takes_it_for(first.title), first.preset) == (kind, preset)


def test_who_finishes_gets_a_longer_card() -> None:
    assert card("right_now_2", kinds="start complete start complete").duration == 600
    assert card("right_now_2", kinds="start complete start abandon").duration == 300
    assert card("right_now_2").duration == 300


def test_a_wish_for_space_or_guidance_chooses_a_real_voice() -> None:
    assert card("right_now_1", wishes=Wishes(voice="More space")).voice_id == "shimmer"
    assert card("right_now_1", wishes=Wishes(voice="Balanced")).voice_id == "nova"


def test_the_best_session_keeps_its_name_and_voice() -> None:
    best = card("your_best", best=BEST)
    assert (best.title, best.voice_id, best.preset) == ("Calm: Quiet Centre", "onyx", "theta")
    assert "3 times" in best.why
    assert card("your_best", best=Best("Deep Sleep", "sleep", "nova", "Delta", 1)).title == "Deep Sleep"


def test_finishing_is_never_more_than_everything() -> None:
    assert finishes(["complete", "complete", "start"]) == 1.0
