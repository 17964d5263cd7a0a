"""The catalogue: a session for every goal, and every line as the rules want it."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest

from media.affirmation_rules import validate
from media.beds import frequency_for
from media.catalogue import CATALOGUE, CatalogueSession
from media.hibari_speech import TIMBRES
from media.lines import normalise

GOALS = {
    "wake-up",
    "coffee-replacement",
    "meditate",
    "focus",
    "sleep",
    "pre-performance",
    "anxiety",
    "anxiety-relief",
    "creativity",
    "sos",
}
PAGE_OF_THE_APP = 50


def test_every_goal_has_at_least_two_sessions_and_the_whole_leaves_room_on_the_apps_one_page() -> None:
    goals = Counter(entry.goal_tag for entry in CATALOGUE)
    assert set(goals) == GOALS
    assert min(goals.values()) >= 2
    assert 24 <= len(CATALOGUE) <= PAGE_OF_THE_APP - 15


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.title)
def test_the_lines_of_a_session_obey_every_rule(entry: CatalogueSession) -> None:
    assert validate(entry.lines, entry.theme, "", len(entry.lines)) == []
    assert [normalise(line) for line in entry.lines] == list(entry.lines)


def test_no_line_and_no_title_stands_twice() -> None:
    lines = list(chain.from_iterable(entry.lines for entry in CATALOGUE))
    assert len(set(lines)) == len(lines)
    assert len({entry.title.lower() for entry in CATALOGUE}) == len({entry.id for entry in CATALOGUE}) == len(CATALOGUE)


def test_every_voice_of_the_app_reads_something() -> None:
    assert {entry.voice_id for entry in CATALOGUE} == set(TIMBRES)


def test_ids_stay_what_they_were() -> None:
    ids = {entry.title: entry.id for entry in CATALOGUE}
    assert ids["Downshift into Sleep"] == "6d7ec05c-c301-55da-b735-9da127dc779a"
    assert frequency_for("sos").brainwave_state == "Alpha"
