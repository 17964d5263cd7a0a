"""What may be spoken, by the word rules alone: few fine goals refused, no crisis missed."""

from pathlib import Path

import pytest

from common.speakable.words import judge_words
from media.catalogue import CATALOGUE
from media.composer import compose
from media.themes import THEMES

FINE = """
kill my fear of speaking
I kill it on stage tonight
kill them with kindness
I shoot hoops with my kids
shoot them an email every morning
dying to succeed
stress is killing me
I am a breast cancer survivor
I cut myself some slack
I cut myself loose from old habits
suicide prevention volunteer
helping others after thoughts of suicide
I survive hard days with grace
I take my life into my own hands
I took my life back
I am ready to die of laughter
sleep with my child peacefully beside me after the night shift
overcome my porn addiction
I beat my personal best
I beat the clock
I am strong, black and proud
white noise helps me rest
I love being gay and free
Scunthorpe is my home
I assess every class with care
mass and velocity, therapist, cockpit, analysis
I hate mornings and want to love them
torture myself less about exams
my ex and I are kind to each other
I end my life story with joy
do it all again, end it well
I make them proud
bomb the interview? I ace it
"""
WRONG = [
    ("crisis", "I want to kill myself"),
    ("crisis", "i wanna stop hurting myself"),
    ("crisis", "I don't want to live anymore"),
    ("crisis", "I don’t want to wake up"),
    ("crisis", "everyone is better off without me"),
    ("crisis", "no reason to live"),
    ("crisis", "I am suicidal"),
    ("crisis", "thinking about suicide"),
    ("crisis", "end my life tonight"),
    ("crisis", "I want to die"),
    ("crisis", "k.i.l.l myself"),
    ("crisis", "k1ll mys3lf"),
    ("crisis", "self-harm feels good"),
    ("violence", "I kill my boss in my sleep"),
    ("violence", "murder her and feel great"),
    ("violence", "shoot up the school"),
    ("hate", "women are inferior and I am a king"),
    ("hate", "white power guides me"),
    ("harassment", "I make her suffer every day"),
    ("sexual", "sex with a minor"),
    ("sexual", "watch porn all day"),
]


@pytest.mark.parametrize("text", FINE.strip().splitlines())
def test_a_fine_goal_passes(text: str) -> None:
    assert judge_words(text) is None


@pytest.mark.parametrize("category, text", WRONG)
def test_what_must_not_be_spoken_is_found(category: str, text: str) -> None:
    assert judge_words(text) == category
    assert judge_words(f"Today, {text.upper()}!") == category


def _phrases(name: str) -> list[str]:
    return (Path(__file__).parent.parent / "fixtures" / "speakable" / f"{name}.txt").read_text().splitlines()


@pytest.mark.parametrize("text", _phrases("crisis"))
def test_a_crisis_in_everyday_words_is_heard(text: str) -> None:
    assert judge_words(text) == "crisis"


@pytest.mark.parametrize("text", _phrases("fine"))
def test_a_manner_of_speaking_is_no_crisis(text: str) -> None:
    assert judge_words(text) is None


@pytest.mark.parametrize("text", _phrases("refused"))
def test_what_harms_others_is_refused(text: str) -> None:
    assert judge_words(text) not in (None, "crisis")


def test_help_is_offered_to_who_speaks_of_others_and_of_themselves() -> None:
    assert judge_words("I want to kill myself since my brother's suicide") == "crisis"
    assert judge_words("I volunteer and I want to die") == "crisis"


def test_every_line_of_ours_passes() -> None:
    ours = [line for session in CATALOGUE for line in session.lines]
    ours += [line for theme in THEMES for line in theme.lines]
    ours += [line for goal in ("sleep better", "confidence at work") for line in compose(goal, "doubt", "Sleep", 24)]
    assert [line for line in ours if judge_words(line)] == []
