"""What an affirmation must be, whoever wrote it: the composer's lines and a model's lines pass the same checks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import combinations
from math import ceil

from media.understanding import understood

MIN_LINES, MAX_LINES = 1, 24
MIN_WORDS, MAX_WORDS = 5, 12
MAX_I_AM = 4
KEYWORD_COVERAGE = 0.7
MAX_SHARED_WORDS = 0.8
_MAX_KEYWORDS = 10
MAX_WORD_LETTERS = 24

FUTURE = re.compile(r"\b(?:will|going to|gonna|\w+'ll|i'm going)\b")
NEGATIVE = re.compile(r"\b(?:not|stop|never|no longer|without|free of|avoid|quit|rid of|cannot|dont|\w+n't)\b")
_VAGUE = re.compile(r"\b(?P<stem>engag|embrac|embod|manifest|align)\w*")
_OF_WHOM = re.compile(r"(?<=\w)\s+who\b[^.,;!?]*")
"""What is told of somebody else: "my ex who cheated" is about the ex."""
_WORD = re.compile(r"[^\W\d_]+")


def word_set(text: str) -> frozenset[str]:
    """The words of a text as a set."""
    return frozenset(text.split())


_STOP_WORDS = word_set(
    """about after again all also and any are around because become been before being but can could day days becoming
    each even ever every feel feeling for from get had has have help her him his how into its just keep like life
    make more most much myself need now off one only other our out over really should some such than that the their
    them then there these they this those through time too toward towards under very want was way were what when
    where which while who why wish with would you your nothing everything anything something stuff things thing"""
)


def keywords(goal: str) -> list[str]:
    """The words of a goal that its affirmations should speak of: at most ten, lower case, in their order.

    Words an English voice can say, of three letters and more, minus stop words and what no affirmation may contain; of
    what the goal means, where all of it is misspelt or in another language.
    """
    words = _WORD.findall(FUTURE.sub(" ", NEGATIVE.sub(" ", _OF_WHOM.sub(" ", _plain(understood(goal))))))
    found = [w for w in words if 2 < len(w) <= MAX_WORD_LETTERS and is_latin(w) and w not in _STOP_WORDS]
    said = set(_WORD.findall(_plain(goal)))
    own = [word for word in found if word in said]  # what they said themselves, wherever that can be spoken of
    return list(dict.fromkeys(own or found))[:_MAX_KEYWORDS]


def line_violations(line: str, goal: str = "", struggle: str = "") -> list[str]:
    """What one line breaks, in plain words; empty when it may be spoken."""
    text = _plain(line)
    count = len(text.split())
    broken = []
    if not MIN_WORDS <= count <= MAX_WORDS:
        broken.append(f"{count} words instead of {MIN_WORDS} to {MAX_WORDS}")
    if found := FUTURE.search(text):
        broken.append(f"speaks of the future: {found[0]}")
    if found := NEGATIVE.search(text):
        broken.append(f"speaks of what should be absent: {found[0]}")
    allowed = _plain(goal if goal.strip() else struggle)
    broken.extend(f"vague verb: {found[0]}" for found in _VAGUE.finditer(text) if found["stem"] not in allowed)
    return broken


def validate(lines: Sequence[str], goal: str, struggle: str, count: int) -> list[str]:
    """Everything a set of lines breaks, in plain words with line numbers from 1; empty when all rules hold."""
    broken = [
        f"line {number}: {violation}"
        for number, line in enumerate(lines, 1)
        for violation in line_violations(line, goal, struggle)
    ]
    if len(lines) != count:
        broken.append(f"{len(lines)} lines instead of {count}")
    if (opening := sum(map(opens_with_i_am, lines))) > MAX_I_AM:
        broken.append(f"{opening} lines open with I am, {MAX_I_AM} may")
    wanted = keywords(goal)
    speaking = sum(contains_keyword(line, wanted) for line in lines)
    if wanted and speaking < covered_lines(len(lines)):
        broken.append(f"{speaking} of {len(lines)} lines speak of the goal, {covered_lines(len(lines))} must")
    for (one, first), (other, second) in combinations(enumerate(lines, 1), 2):
        if shared_words(first, second) > MAX_SHARED_WORDS:
            broken.append(f"lines {one} and {other} are nearly the same")
    return broken


def fits(line: str, beside: Sequence[str], goal: str, struggle: str) -> bool:
    """Whether a line keeps the rules by itself and beside the others; only the goal's coverage is not looked at."""
    if line_violations(line, goal, struggle):
        return False
    if opens_with_i_am(line) and sum(map(opens_with_i_am, beside)) >= MAX_I_AM:
        return False
    return all(shared_words(line, other) <= MAX_SHARED_WORDS for other in beside)


def covered_lines(count: int) -> int:
    """How many of `count` lines must speak of the goal."""
    return ceil(round(KEYWORD_COVERAGE * count, 6))


def contains_keyword(line: str, wanted: Sequence[str]) -> bool:
    text = _plain(line)
    return any(word in text for word in wanted)


def opens_with_i_am(line: str) -> bool:
    return re.match(r"i(?: a|')m\b", _plain(line)) is not None


def shared_words(one: str, other: str) -> float:
    """Share of the shorter line's different words that the other line has too; 1.0 for the same words."""
    first, second = (set(re.findall(r"[\w'-]+", _plain(line))) for line in (one, other))
    shorter = min(len(first), len(second))
    return len(first & second) / shorter if shorter else 1.0


def is_latin(word: str) -> bool:
    """Whether every letter is one of a to z, with or without an accent."""
    return bool(word) and all(
        unicodedata.normalize("NFKD", letter)[0] in "abcdefghijklmnopqrstuvwxyz" for letter in word.lower()
    )


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower().replace("’", "'").replace("‘", "'")
