"""The cards of the home screen: a pure function of what a user did, what they said they want, and their hour.

The app derives the kind of session from words in a title (focus, work; sleep, downshift; calm, steady), so every title
holds one of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from media.speech import DEFAULT_VOICE

Slot = Literal["next_step", "right_now_1", "right_now_2", "tonight", "your_best", "try_new"]
Preset = Literal["alpha", "beta", "delta", "theta", "smr"]
Goal = Literal["Calm", "Focus", "Sleep", "Confidence", "Reset"]
VoicePreference = Literal["More space", "Balanced", "More guidance"]
SoundPreference = Literal["Voice-forward", "Balanced", "Atmosphere-forward"]
ListeningKind = Literal["start", "complete", "abandon", "replay", "skip_affirmation", "mix_adjust"]

LONG, MIDDLE, SHORT = 600, 420, 300
"""Seconds a card promises."""
OFTEN_FINISHED = 0.7
MORNING, NIGHT_BEGINS, NIGHT_ENDS = range(6, 12), 18, 6
TITLES: dict[Goal, str] = {
    "Calm": "A calm reset",
    "Focus": "Focus for what matters now",
    "Sleep": "Downshift into sleep",
    "Confidence": "Steady confidence",
    "Reset": "A steady start again",
}
PRESETS: dict[Goal, Preset] = {"Focus": "beta", "Sleep": "delta"}
VOICES: dict[str, str] = {"More space": "shimmer", "More guidance": "alloy"}
_TYPE_WORDS = ("focus", "work", "sleep", "downshift", "calm", "steady")
_TYPE_OF_TAG = {
    "focus": "Focus",
    "creativity": "Focus",
    "wake-up": "Focus",
    "coffee-replacement": "Focus",
    "pre-performance": "Steady",
    "sleep": "Sleep",
}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user said they want; None where they said nothing."""

    goal: Goal | None = None
    voice: VoicePreference | None = None


@dataclass(frozen=True, slots=True)
class Best:
    """The session a user has finished most often."""

    title: str
    goal_tag: str | None
    voice_id: str
    brainwave_state: str | None
    times: int


@dataclass(frozen=True, slots=True)
class Card:
    slot: Slot
    title: str
    duration: int
    voice_id: str
    preset: Preset
    background_id: Literal["calm", "night"]
    why: str


def is_night(hour: int) -> bool:
    return hour >= NIGHT_BEGINS or hour < NIGHT_ENDS


def cards(kinds: Sequence[str], wishes: Wishes, best: Best | None, hour: int) -> list[Card]:
    """At most one card a slot. ``kinds`` are the user's last events, ``hour`` (0 to 23) is the user's own."""
    return list(_cards(kinds, wishes, best, hour))


def _cards(kinds: Sequence[str], wishes: Wishes, best: Best | None, hour: int) -> Iterator[Card]:
    goal = goal_now(wishes, hour)
    voice = VOICES.get(wishes.voice or "", DEFAULT_VOICE)
    background: Literal["calm", "night"] = "night" if is_night(hour) else "calm"
    why = "You said this matters most to you." if goal == wishes.goal else "It fits this time of day."
    yield Card("right_now_1", TITLES[goal], LONG, voice, PRESETS.get(goal, "alpha"), background, why)
    if finishes(kinds) > OFTEN_FINISHED:
        finishing = "You finish what you start; stay a little longer."
        yield Card("right_now_2", "A longer calm", LONG, voice, "alpha", background, finishing)
    else:
        yield Card("right_now_2", "A short calm", SHORT, voice, "alpha", background, "Five minutes are enough.")
    if is_night(hour):
        tonight = "A slow way out of the day."
        yield Card("tonight", "Sleep comes easily tonight", LONG, voice, "delta", "night", tonight)
    if best is not None:
        often = "You have finished this once." if best.times == 1 else f"You have finished this {best.times} times."
        title = _with_type(best.title, best.goal_tag)
        yield Card("your_best", title, LONG, best.voice_id, _preset_of(best.brainwave_state), background, often)
    new: Preset = "theta" if wishes.goal == "Focus" else "beta"
    unknown = "Calm attention, deep and wide" if new == "theta" else "Clear focus, lightly held"
    yield Card("try_new", unknown, MIDDLE, voice, new, background, "Something you have not tried lately.")


def goal_now(wishes: Wishes, hour: int) -> Goal:
    """Focus in the morning and sleep at night; between them what the user wants most."""
    if hour in MORNING:
        return "Focus"
    return "Sleep" if is_night(hour) else wishes.goal or "Calm"


def finishes(kinds: Iterable[str]) -> float:
    """The share of started sessions that were finished, 0 without any."""
    found = list(kinds)
    started = found.count("start")
    return min(1.0, found.count("complete") / started) if started else 0.0


def _with_type(title: str, goal_tag: str | None) -> str:
    if any(word in title.lower() for word in _TYPE_WORDS):
        return title
    return f"{_TYPE_OF_TAG.get(goal_tag or '', 'Calm')}: {title}"


def _preset_of(brainwave_state: str | None) -> Preset:
    states: dict[str, Preset] = {"delta": "delta", "theta": "theta", "smr": "smr", "beta": "beta"}
    return states.get((brainwave_state or "").lower(), "alpha")
