"""Writes affirmations with no network: phrases of the goal, the struggle and the values woven into proven sentences.

Varied (a seed makes it repeatable), always the exact number, and every rule of `affirmation_rules` kept, whatever the
goal says.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, cycle, zip_longest

from media.affirmation_rules import (
    MAX_LINES,
    MIN_LINES,
    contains_keyword,
    covered_lines,
    fits,
    keywords,
    validate,
)
from media.phrases import GOAL_LINES, OPEN_LINES, STRUGGLE_LINES, VALUE_LINES, Framework
from media.struggles import struggles_of
from media.themes import themes_of
from media.topics import Kind, Topic, plain_phrase, single_topics, topics_of
from media.understanding import understood

__all__ = ["CompositionFailed", "compose", "framework_for", "validate"]

_ATTEMPTS = 5
_GOAL_SHARE = 0.8
_SAYS_WHEN = re.compile(
    r"\b(?:\w+day|tonight|tomorrow|daily|every|each|week|weekend|month|year|semester|term|summer|winter|autumn|before"
    r"|at \d+\w*)\b",
    re.I,
)
_SESSION_TOPICS = (
    ("sleep", "deep rest"),
    ("meditat", "inner stillness"),
    ("focus", "clear attention"),
    ("anxi", "calm"),
    ("wake", "fresh energy"),
    ("creativ", "creative play"),
    ("perform", "steady confidence"),
    ("work", "good work"),
)


class CompositionFailed(RuntimeError):
    """The rules could not all be kept; the message names what was broken."""


def framework_for(session_type: str, struggle: str) -> Framework:
    """Bridge out of fear, power for work and waking, values for everything else."""
    kind, burden = session_type.lower(), struggle.lower()
    if re.search("anxiety|calm", kind) or re.search("anxiety|fear|doubt|imposter", burden):
        return Framework.BRIDGE
    return Framework.POWER if re.search("focus|work|wake|energy", kind) else Framework.VALUES


def compose(
    goal: str,
    struggle: str,
    session_type: str,
    count: int,
    values: Sequence[str] = (),
    seed: int | None = None,
    heard: Collection[str] = (),
) -> list[str]:
    """Exactly `count` affirmations (1 to 24), different each time unless a seed is given; lines in `heard` come again
    only when there are no others.

    Raises ValueError for a count out of range and CompositionFailed when no set of lines keeps all rules.
    """
    if not MIN_LINES <= count <= MAX_LINES:
        raise ValueError(f"{count} lines were asked for; {MIN_LINES} to {MAX_LINES} can be written")
    rng = random.Random(seed)
    framework = framework_for(session_type, struggle)
    broken: list[str] = []
    for _ in range(_ATTEMPTS):
        lines = _Draft(goal, struggle, count, rng, heard).written(session_type, framework, values)
        broken = validate(lines, goal, struggle, count)
        if not broken:
            return lines
    raise CompositionFailed("; ".join(broken))


class _Draft:
    """Lines chosen so far; a line that would break a rule is not chosen."""

    def __init__(self, goal: str, struggle: str, count: int, rng: random.Random, heard: Collection[str]) -> None:
        self.goal, self.struggle, self.count, self.rng = goal, struggle, count, rng
        self.wanted = keywords(goal)
        self.heard = frozenset(heard)
        self.lines: list[str] = []

    def written(self, session_type: str, framework: Framework, values: Sequence[str]) -> list[str]:
        topics = topics_of(self.goal)
        speaking, beside = self._of_themes(understood(self.goal) if topics else session_type)
        woven = max(covered_lines(self.count), round(_GOAL_SHARE * self.count)) if topics else 0
        about = self._interleaved(speaking, list(self._about(topics, framework)))
        self._take(about, woven, speaking_of_goal=bool(self.wanted))
        least = covered_lines(self.count) if self.wanted else 0
        self._take(self._about(single_topics(self.goal), framework), least, speaking_of_goal=True)
        others = list(self._interleaved(self._of_struggle(), self._of_values(values), beside))
        of_session = list(self._about(_session_topics(session_type), framework))
        self._take_fresh(others, self.count if topics else self.count // 3)
        self._take_fresh(of_session, self.count // 2)
        self._take_fresh([*beside, *self._open(framework)], self.count)
        self._take([*self._about(topics, framework), *others, *of_session, *self._open(framework)], self.count)
        # The first line heard speaks of the goal; the others follow in no order.
        rest = self.lines[1:]
        self.rng.shuffle(rest)
        return [*self.lines[:1], *rest]

    def _of_themes(self, about: str) -> tuple[list[str], list[str]]:
        """Whole lines about something: those that say a word of the goal, and those that stand beside them."""
        themes = themes_of(about)
        words = self.wanted or keywords(about)
        speaking = self._mixed(*(theme.lines_for(about, words) for theme in themes))
        beside = [line for line in self._mixed(*(theme.beside for theme in themes)) if line not in speaking]
        return (speaking, beside) if self.wanted else ([], [*speaking, *beside])

    def _speaks(self, line: str) -> bool:
        return contains_keyword(line, self.wanted)

    def _take(self, candidates: Iterable[str], until: int, speaking_of_goal: bool = False) -> None:
        for line in sorted(candidates, key=self.heard.__contains__):
            if len(self.lines) >= until:
                return
            speaks = not speaking_of_goal or self._speaks(line)
            if speaks and fits(line, self.lines, self.goal, self.struggle):
                self.lines.append(line)

    def _take_fresh(self, candidates: Iterable[str], until: int) -> None:
        self._take((line for line in candidates if line not in self.heard), until)

    def _about(self, topics: Sequence[Topic], framework: Framework) -> Iterator[str]:
        """Every sentence for every topic, topics in turn; the framework's own first, what says a word twice last.

        A topic that is the one before in fewer words takes turns with it.
        """
        per_topic: list[list[str]] = []
        for number, topic in enumerate(topics):
            lines = self._for_kind(topic, framework)
            filled = [_filled(line, "t", topic.text) for line in lines]
            if number and topics[number - 1].text.startswith(f"{topic.text} "):
                filled = list(self._interleaved(per_topic.pop(), filled))
            per_topic.append(filled)
        return self._interleaved(*per_topic)

    def _for_kind(self, topic: Topic, framework: Framework) -> list[str]:
        families = GOAL_LINES[topic.kind]
        leading = self._interleaved(self._mixed(families[framework]), self._mixed(families[None]))
        others = self._mixed(*(families[other] for other in Framework if other is not framework))
        said = set(re.findall(r"\w{4,}", topic.text.lower()))
        if _SAYS_WHEN.search(topic.text):
            said |= {"today", "daily", "hour"}
        return sorted((*leading, *others), key=lambda line: not said.isdisjoint(_words(line)))

    def _of_struggle(self) -> list[str]:
        names = struggles_of(self.struggle)
        lines = self._mixed(STRUGGLE_LINES)
        return [_filled(line, "s", name) for line, name in zip(lines, cycle(names), strict=False)]

    def _of_values(self, values: Sequence[str]) -> list[str]:
        phrases = [phrase for value in values if (phrase := plain_phrase(value))]
        return [
            _filled(line, "v", phrase) for line, phrase in zip(self._mixed(VALUE_LINES), cycle(phrases), strict=False)
        ]

    def _open(self, framework: Framework) -> Iterator[str]:
        others = [OPEN_LINES[other] for other in Framework if other is not framework]
        return chain(self._mixed(OPEN_LINES[framework], OPEN_LINES[None]), self._mixed(*others))

    def _mixed(self, *families: Sequence[str]) -> list[str]:
        lines = [line for family in families for line in family]
        self.rng.shuffle(lines)
        return lines

    def _interleaved(self, *sources: Sequence[str]) -> Iterator[str]:
        return (line for turn in zip_longest(*sources) for line in turn if line is not None)


def _session_topics(session_type: str) -> list[Topic]:
    lower = session_type.lower()
    return [Topic(phrase, Kind.NOUN) for name, phrase in _SESSION_TOPICS if name in lower]


def _words(line: str) -> list[str]:
    return re.findall(r"\w+", line.lower())


def _filled(line: str, slot: str, phrase: str) -> str:
    capital = phrase[:1].upper() + phrase[1:]
    return line.replace(f"{{{slot}}}", phrase).replace(f"{{{slot.upper()}}}", capital)
