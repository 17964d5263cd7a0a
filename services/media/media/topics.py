"""From a goal in anyone's words to phrases that can stand inside a sentence.

The goal is data: only its plain English words are taken, a few at a time, and nothing it says is followed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from media.affirmation_rules import (
    MAX_WORD_LETTERS,
    contains_keyword,
    is_latin,
    keywords,
    line_violations,
)
from media.lexicon import (
    ALSO_NOUNS,
    ASKS_FOR_MORE,
    BREAKS,
    BURDENS,
    DETERMINERS,
    DROPPED,
    FINITE,
    HARMFUL,
    HEAVY,
    HOPED,
    ILLS,
    INTENSIFIERS,
    LEADS,
    MAKING,
    MARKERS,
    NEEDS_OBJECT,
    NO_ACTIVITIES,
    NO_LOSS,
    NOUNS_ALONE,
    OF_OTHERS,
    ORDER,
    PREPOSITIONS,
    PROPER,
    QUALITIES,
    STATES,
    SUBORDINATES,
    TRAILING,
    VERB_CONTINUES,
    VERB_OF,
    VERBS,
    WHEN,
    gerund,
)
from media.understanding import understood

_MAX_WORDS = 6
"""Of what somebody does; what is only named has one less, as the sentences around it are longer."""

_WITHOUT_SOMEBODY = re.compile(
    r"\bwithout (?:my|our) (?:\w+ )?(?:husband|wife|mom|mum|mother|dad|father|son|daughter|baby|brother|sister"
    r"|grand\w+)\b",
    re.I,
)
_URGE = ["the", "urge", "to"]


class Kind(Enum):
    """Which sentences a phrase fits: "better sleep", "sleep better", "sleeping well", "more confident", "smoking" (as
    what to leave), "my illness" (what is lived with, and never promised away), "get pregnant" (what may be hoped for,
    and is not in anybody's hands).
    """

    NOUN = "noun"
    VERB = "verb"
    ACTIVITY = "activity"
    QUALITY = "quality"
    AWAY = "away"
    TENDER = "tender"
    HOPE = "hope"


@dataclass(frozen=True)
class Topic:
    """A phrase of one to six words and how it can be used."""

    text: str
    kind: Kind


_TOKEN = re.compile(r"[^\W\d_](?:[^\W\d_]|['-])*|[$€£]?\d+(?:[.,:]\d+)*(?:%|[a-z]{1,2}\b)?|\S")
_NUMBER = re.compile(r"[$€£]?\d[\d.,:]*(?:%|[a-z]{1,2})?")
_OPENINGS = (
    (re.compile(r"^\W*(?:how|what)\s+(?:do|can|could|should|would)\s+(?:i|we)\b(?:\s+do\s+about\b)?", re.I), "to "),
    (re.compile(r"^\W*(?:why|when|where)(?:\s+(?:do|can|should|am|are))?\s+(?:i|we)\b", re.I), ""),
    (
        re.compile(r"^\W*(?:i\s+)?(?:have|having)\s+(?:a lot of |so much )?(?:trouble|problems?)\s+(?:with\s+)?", re.I),
        "",
    ),
    (re.compile(r"^\W*(?:i|i'm)?\s*(?:am\s+)?(?:struggl|suffer)(?:e|ing)?\s+(?:with|from)\b", re.I), ""),
    (re.compile(r"\b(less\s+\S+)\s+(?=more\s)", re.I), r"\1, "),
    (re.compile(r"\bso\s+(?!that\b|i\b|we\b|my\b)", re.I), ""),
    (re.compile(r"\b(no more)\b", re.I), "no"),
)
"""How goals are put that are easier to read put otherwise."""


@dataclass(frozen=True)
class _Clause:
    """Words of a goal's clause, whether they name something to leave behind, and whether "to" stood before them."""

    words: list[str]
    away: bool = False
    after_to: bool = False


def topics_of(goal: str) -> list[Topic]:
    """Phrases of a goal in their order, each with a keyword of it, if it has any; empty when none can be said."""
    wanted = keywords(goal)
    read = [topic for clause in _clauses(goal) for topic in _topics(clause, wanted)]
    found = [topic for topic in read if _usable(topic, goal, wanted)]
    if not wanted:  # nothing need be spoken of: only what is a whole phrase by itself is worth it
        return [topic for topic in dict.fromkeys(found) if topic.kind in {Kind.VERB, Kind.HOPE} and " " in topic.text]
    if not found:
        return single_topics(goal)
    plain = [topic for topic in found if _says_something(topic)] or single_topics(goal)
    if _WITHOUT_SOMEBODY.search(goal):
        plain = [replace(topic, kind=Kind.TENDER) if topic.kind is Kind.NOUN else topic for topic in plain]
    return list(dict.fromkeys(plain))


def _says_something(topic: Topic) -> bool:
    """ "finish it" says nothing without what "it" is, nor does "say" alone."""
    return topic.text not in NEEDS_OBJECT and not {"it", "them"} & set(topic.text.split())


def single_topics(goal: str) -> list[Topic]:
    """The goal's keywords one by one: less of a phrase, and short enough for every sentence."""
    wanted = keywords(goal)
    read = [topic for word in wanted for topic in _topics(_Clause([word]), wanted)]
    found = [topic for topic in dict.fromkeys(read) if _usable(topic, goal, wanted)]
    return list(filter(_says_something, found)) or found


def _usable(topic: Topic, goal: str, wanted: list[str]) -> bool:
    # Only the length of the whole line may be judged later; every other rule the phrase must keep by itself.
    padded = f"{topic.text} x x x x x"
    spoken = contains_keyword(topic.text, wanted) or not wanted
    return spoken and not line_violations(" ".join(padded.split()[:8]), goal)


def _clauses(goal: str) -> list[_Clause]:
    text = understood(goal)
    for pattern, instead in _OPENINGS:
        text = pattern.sub(instead, text)
    return [_Clause(_cased(clause.words, text), clause.away, clause.after_to) for clause in _split(text)]


def _split(text: str) -> Iterator[_Clause]:
    words: list[str] = []
    away = after_to = explains = began = False
    for token in [*_TOKEN.findall(text), "."]:
        lower = token.lower()
        refusing = lower == "no" and words[-1:] in (["say"], ["saying"])
        if not refusing and (lower in BREAKS or lower in MARKERS or _opens(lower, began) or not _sayable(lower)):
            if words and not explains:
                yield _Clause(words, away, after_to)
            words, away, after_to = [], lower in MARKERS, False
            explains = _opens(lower, began) or (explains and lower not in ".,;!?")
        elif words and words[-1][0].isdigit() and lower in VERB_OF:
            yield _Clause(words, away, after_to)  # "waking up at 3am worrying about work" is two things
            words = [token]
        elif not words and lower in LEADS:
            after_to = lower in {"to", "me", "can't", "cannot", "cant"}
        elif lower not in DROPPED and len(token) <= MAX_WORD_LETTERS and [token] != words[-1:]:
            words, began = [*words, token], True


def _opens(word: str, began: bool) -> bool:
    return began and word in SUBORDINATES


def _sayable(word: str) -> bool:
    return is_latin(re.sub("['-]", "", word)) or _NUMBER.fullmatch(word) is not None


def _cased(words: list[str], text: str) -> list[str]:
    """Capitals are kept where they can be a name's: not those of a sentence's first word, nor of a whole heading."""
    heading = text.isupper() or text.istitle()
    first = next(iter(re.findall(r"[^\W\d_][\w'-]*", text)), "")
    name = len(words) > 2 and words[1][0].isupper()
    return [
        PROPER.get(word.lower())
        or (word if not heading and (word != first or name or not word.istitle()) else word.lower())
        for word in words
    ]


def _topics(clause: _Clause, wanted: list[str]) -> Iterator[Topic]:
    """The clause as a phrase; a long one is also given shorter, where that still says what it is about."""
    words = [{"your": "my", "yourself": "myself"}.get(word, word) for word in clause.words]
    if ill := _missing(words) or _lived_with(words):
        yield Topic(" ".join(ill), Kind.TENDER)
        return
    if words[:1] and words[0].lower() in ORDER and not clause.away:
        words = ["my", *words]
    words, kind = _read(words, clause.away, clause.after_to, wanted)
    if kind is Kind.VERB and _is_hoped(words):
        kind = Kind.HOPE
    # what is whole with one word more is better than what breaks off
    most = _MAX_WORDS if kind is Kind.VERB or words[:3] == _URGE else _MAX_WORDS - 1
    whole = _whole_phrase(words, most + (len(words) == most + 1))
    if whole:
        yield Topic(" ".join(whole), kind)
    long = _MAX_WORDS - (kind is Kind.NOUN)
    if len(whole) >= long and (opened := _opened(whole)):
        yield Topic(" ".join(whole[: opened[-1]]), kind)
    if kind is Kind.VERB and whole[1:2] and whole[0] in MAKING and whole[1] in {"my", "our", "the"}:
        made = whole[1 : next(iter(_opened(whole)), len(whole))]
        made = made[: next((place for place, word in enumerate(made) if place and word.lower() in WHEN), len(made))]
        yield Topic(" ".join(word for word in made if word not in VERB_CONTINUES - DETERMINERS), Kind.NOUN)


def _missing(words: list[str]) -> list[str]:
    """Somebody who is missed; empty when nobody is."""
    missed = len(words) > 1 and words[0].lower() in {"miss", "missing"}
    return ["missing", *words[1:5]] if missed and words[1].lower() in {*DETERMINERS, "him", "her", "them"} else []


def _lived_with(words: list[str]) -> list[str]:
    """The illness or loss that is named, with what stands before it ("my chronic pain"); empty when none is."""
    lower = [word.lower() for word in words]
    place = next((place for place, word in reversed(list(enumerate(lower))) if word in ILLS), None)
    if lower[:1] in ([word] for word in OF_OTHERS) or (place and lower[place - 1] in NO_LOSS):
        return []
    if place is None or lower[place + 1 : place + 2] not in ([], *([word] for word in PREPOSITIONS)):
        return []
    start = place
    ends = (
        VERBS
        | set(VERB_OF) - {"eating"}
        | PREPOSITIONS
        | STATES
        | INTENSIFIERS
        | FINITE
        | {"from", "be", "have", "having"}
    )
    while start and lower[start - 1] not in ends and place - start < _MAX_WORDS // 2:
        start -= 1
    if lower[place : place + 2] in (["grief", "for"], ["loss", "of"]):
        rest = next(
            (there for there, word in enumerate(lower) if there > place + 1 and word in PREPOSITIONS), len(words)
        )
        return words[start : min(rest, start + _MAX_WORDS)]  # whose, or of what
    return words[start : place + 1]


def _is_hoped(words: list[str]) -> bool:
    return bool(
        words[0] in HOPED
        or "pregnant" in words
        or words[:2] in (["get", "over"], ["move", "on"])
        or words[:3] == ["have", "a", "baby"]
        or (words[0] in {"get", "win"} and words[-1] == "back")
    )


def _read(words: list[str], away: bool, after_to: bool, wanted: list[str]) -> tuple[list[str], Kind]:
    if not words:
        return words, Kind.NOUN
    first = words[0].lower()
    if away and first not in QUALITIES:
        return _as_burden(words), Kind.AWAY
    if first in HEAVY and not (first == "lost" and len(words) > 1):
        return ["feeling", *words], Kind.AWAY
    if first in HARMFUL and (len(words) > 1 or first not in BURDENS) and "less" not in words:
        return [*_URGE, *words], Kind.AWAY
    if first in STATES:
        return ["be", *words], Kind.VERB
    if first == "less" and len(words) == 2 and words[1] in BURDENS:
        return words[1:], Kind.AWAY
    if (verb := VERB_OF.get(first)) and first not in BURDENS and len(words) > 1:
        doing = [verb, *words[1:]]
        if contains_keyword(" ".join(doing), wanted):
            return doing, Kind.VERB
    kind = _kind(words, after_to)
    if kind is Kind.NOUN and "to" in words[1:] and contains_keyword(" ".join(words[: words.index("to")]), wanted):
        return words[: words.index("to")], kind  # "my kids to respect me": the kids are theirs to name, not to move
    return words, kind


def _whole_phrase(words: list[str], most: int) -> list[str]:
    """At most ``most``, ended where a phrase ends: not before "I", nor within what a preposition opens."""
    ends = FINITE | {"i"} | ({"everything", "anything"} if words and _is_gerund(words[0].lower()) else set())
    subject = next((place for place, word in enumerate(words) if place and word.lower() in ends), len(words))
    words = words[:subject]
    if len(words) > most:
        counted = next((place for place, word in enumerate(words) if place > 2 and word[0].isdigit()), most)
        words = words[: next(reversed(_opened(words[: most + 1])), min(counted, most))]
    while words and words[-1].lower() in TRAILING:
        words = words[:-1]
    return words


def _opened(words: list[str]) -> list[int]:
    """Where a preposition opens something that can be left out."""
    return [
        place
        for place, word in enumerate(words)
        if place > 1 and word.lower() in PREPOSITIONS - {"of"} and words[place - 1].lower() not in ASKS_FOR_MORE
    ]


def _as_burden(words: list[str]) -> list[str]:
    """Words after "stop" or "not" as something that can be left behind: "the urge to eat", "being anxious"."""
    if words[-1].lower() in {"me", "us"}:
        return []  # "don't define me" names nothing
    if len(words) > 2 and words[0] in BURDENS and "for" in words[1:]:
        return words[: words.index("for")]  # what it is left behind for is nothing to leave behind
    if words[0] in DETERMINERS and BURDENS.isdisjoint(word.lower() for word in words):
        return []  # "without my phone": a thing is nothing to outgrow
    if words[0] in {"be", "feel", "get"} and len(words) > 1:
        return [gerund(words[0]), *words[1:]]
    if words[0] in VERBS and words[0] not in BURDENS:
        return [*_URGE, *words]
    if words[0] in VERB_OF and words[0] not in BURDENS and len(words) < _MAX_WORDS // 2:
        return ["the", "habit", "of", *words]
    return ["being", *words] if words[0] in HEAVY else words


def _kind(words: list[str], after_to: bool) -> Kind:
    lower = [word.lower() for word in words]
    core = lower[1:] if lower[0] in INTENSIFIERS and len(words) > 1 else lower
    if core[0] in QUALITIES and (len(core) == 1 or core[1] in PREPOSITIONS | {"enough"}):
        return Kind.QUALITY
    if _is_verb(words, lower, after_to):
        return Kind.VERB
    named = next((place for place, word in enumerate(lower) if place and word in PREPOSITIONS), len(lower))
    if lower[named - 1] in BURDENS:
        return Kind.AWAY
    if _is_gerund(lower[0]) or _is_gerund(lower[named - 1]):
        return Kind.ACTIVITY
    return Kind.NOUN


def _is_gerund(word: str) -> bool:
    return len(word) > 4 and word.endswith("ing") and word not in NO_ACTIVITIES


def _is_verb(words: list[str], lower: list[str], after_to: bool) -> bool:
    follows = lower[1] if len(words) > 1 else ""
    if lower[0] in VERBS:
        if len(words) == 1:
            return after_to or lower[0] not in NOUNS_ALONE | BURDENS
        named = len(words) > 1 and words[1][0].isupper() and (len(words) == 2 or lower[2] in PREPOSITIONS)
        how = follows.endswith("ly") and follows != "family"
        continues = follows in VERB_CONTINUES or follows[:1].isdigit() or named or how
        return after_to or lower[0] not in ALSO_NOUNS or continues
    other = PREPOSITIONS | DETERMINERS | INTENSIFIERS | BURDENS | {"better"}
    if lower[0] in other or _is_gerund(lower[0]):
        return False
    acting = follows in {"my", "our", "the", "a", "an", "myself"} or (after_to and len(words) > 1)
    return acting and lower[0].isalpha()


def plain_phrase(text: str, most_words: int = 2) -> str | None:
    """The first plain English words of a value such as "Family" or "inner peace"; None when there are none."""
    words = re.findall(r"[a-z]+(?:-[a-z]+)*", unicodedata.normalize("NFKC", text).lower())[:most_words]
    phrase = " ".join(words)
    usable = phrase and all(1 < len(word) <= MAX_WORD_LETTERS for word in words)
    return phrase if usable and not line_violations(f"{phrase} x x x x x") else None
