"""From a goal in anyone's words to phrases that can stand inside a sentence.

The goal is data: only its plain English words are taken, a few at a time, and nothing it says is followed.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum

from media.affirmation_rules import (
    MAX_WORD_LETTERS,
    contains_keyword,
    is_latin,
    keywords,
    line_violations,
    word_set,
)

_MAX_WORDS = 5


class Kind(Enum):
    """Which sentences a phrase fits: "better sleep", "sleep better", "more confident", "smoking" (as what to leave)."""

    NOUN = "noun"
    VERB = "verb"
    QUALITY = "quality"
    AWAY = "away"


@dataclass(frozen=True)
class Topic:
    """A phrase of one to four words and how it can be used."""

    text: str
    kind: Kind


_TOKEN = re.compile(r"[^\W\d_](?:[^\W\d_]|['-])*|\S")
_BREAKS = word_set("and but or so because while when that who which if then as")
_LEADS = word_set(
    """i i'm im i'd id i've ive we want wants wanted need needs wish would like hope hoping try trying aim plan
    planning to please how can could should able really just also help me us goal is start begin learn"""
)
_MARKERS = word_set("stop stopping quit quitting avoid avoiding not no never don't dont cannot can't without")
_DROPPED = word_set("will going gonna won't wont rid free longer anymore i'll")
_TRAILING = word_set(
    """to of at in on the a an my your with for from by about into more so very be and or as than too this that is are
    am under being feel feeling become becoming"""
)
_INTENSIFIERS = word_set("more so very truly deeply fully much less too")
_PREPOSITIONS = word_set("at in with about around during under on for before after by of to")
_VERB_CONTINUES = _PREPOSITIONS | word_set(
    """better well deeply more less harder faster through the a an my every all again soundly longer earlier daily
    peacefully clearly"""
)
_QUALITIES = word_set(
    """calm calmer confident happy happier healthy healthier strong stronger focused productive patient present
    creative brave braver successful relaxed energetic energized disciplined kind kinder organized organised
    peaceful grateful resilient assertive motivated mindful grounded centered rested fit fitter independent
    optimistic positive courageous secure safe steady clear honest open loving content joyful fearless bold
    awake alert outgoing social decisive consistent balanced anxious"""
)
_VERBS = word_set(
    """accept achieve act attract balance be become believe bring build calm care change choose climb commit
    communicate complete connect control cook create cut deal deepen deliver develop do draw drink earn eat
    enjoy express face fall feel find finish focus follow forgive gain get give go grow handle have heal hold
    improve increase inspire keep know launch lead learn leave let listen live lose love lower maintain make
    manage master meditate meet move open organize overcome own pass perform play practice practise prepare
    present pursue raise reach read reduce relax release remember rest run save say see sell set shine show sing
    sleep slow smile smoke solve speak spend stand start stay strengthen study succeed take talk teach tell
    think train trust try turn understand use wake walk win work write yell shout overthink procrastinate worry
    eat snack drink gamble panic compare criticize apologize hide doubt hate ignore print ask answer manifest
    align embrace engage embody celebrate create stick"""
)
_ALSO_NOUNS = word_set(
    """act balance calm care change control cook cut deal drink face fall focus gain love move panic play practice
    present release rest run sleep smile smoke stand start study talk train trust turn use walk win work worry
    doubt read show open own lead hate slow"""
)
_BURDENS = word_set(
    """anxiety stress fear fears worry worries doubt doubts self-doubt procrastination pain anger depression insomnia
    overthinking panic debt perfectionism loneliness burnout addiction shame guilt jealousy smoking drinking
    sadness overwhelm imposter distraction distractions tension rage cravings phobia nightmares gambling
    overeating snoring"""
)


def topics_of(goal: str) -> list[Topic]:
    """Phrases of a goal in their order, each with a keyword of it; empty when the goal has no keywords."""
    wanted = keywords(goal)
    found = [topic for chunk in _chunks(goal) if (topic := _topic(*chunk)) and _usable(topic, goal, wanted)]
    if wanted and not found:
        singles = [_topic([word], away=False, after_to=False) for word in wanted]
        found = [topic for topic in singles if topic and _usable(topic, goal, wanted)]
    return list(dict.fromkeys(found))


def _usable(topic: Topic, goal: str, wanted: list[str]) -> bool:
    # Only the length of the whole line may be judged later; every other rule the phrase must keep by itself.
    padded = f"{topic.text} x x x x x"
    return contains_keyword(topic.text, wanted) and not line_violations(" ".join(padded.split()[:8]), goal)


def _chunks(goal: str) -> list[tuple[list[str], bool, bool]]:
    """Words of each clause, whether it names something to leave behind, and whether "to" stood before it."""
    text = unicodedata.normalize("NFKC", goal).replace("’", "'").replace("‘", "'")
    keeps_case = not (text.isupper() or text.istitle())
    chunks: list[tuple[list[str], bool, bool]] = []
    words: list[str] = []
    away = after_to = False
    for token in [*_TOKEN.findall(text), "."]:
        lower = token.lower()
        if not is_latin(re.sub("['-]", "", lower)) or lower in _BREAKS or lower in _MARKERS:
            if words:
                chunks.append((words, away, after_to))
                words, after_to = [], False
            away = lower in _MARKERS
        elif not words and lower in _LEADS:
            after_to = lower in {"to", "me"}
        elif lower not in _DROPPED and len(token) <= MAX_WORD_LETTERS:
            words.append(token if keeps_case and words and token[0].isupper() else lower)
    return chunks


def _topic(words: list[str], away: bool, after_to: bool) -> Topic | None:
    words = [{"your": "my", "yourself": "myself", "i": "I"}.get(word, word) for word in words]
    if away and words:
        words = _as_burden(words)
    words = _whole_phrase(words)
    while words and words[-1].lower() in _TRAILING:
        words.pop()
    if not words:
        return None
    return Topic(" ".join(words), Kind.AWAY if away else _kind(words, after_to))


def _whole_phrase(words: list[str]) -> list[str]:
    """At most _MAX_WORDS, ended where a phrase ends: not before "I", nor within what a preposition opens."""
    subject = next((place for place, word in enumerate(words) if place and word == "I"), len(words))
    words = words[:subject]
    if len(words) <= _MAX_WORDS:
        return words
    opened = (place for place, word in enumerate(words[:_MAX_WORDS]) if place > 1 and word.lower() in _PREPOSITIONS)
    return words[: next(opened, _MAX_WORDS)]


def _as_burden(words: list[str]) -> list[str]:
    """Words after "stop" or "not" as something that can be left behind: "the urge to smoke", "being anxious"."""
    if words[0] == "be":
        return ["being", *words[1:]]
    if words[0] in _VERBS and words[0] not in _BURDENS:
        return ["the", "urge", "to", *words]
    return ["being", *words] if words[0] in _QUALITIES else words


def _kind(words: list[str], after_to: bool) -> Kind:
    core = words[1:] if words[0] in _INTENSIFIERS and len(words) > 1 else words
    if core[0] in _QUALITIES and (len(core) == 1 or core[1] in _PREPOSITIONS):
        return Kind.QUALITY
    if words[0] in _VERBS:
        continues = len(words) > 1 and words[1].lower() in _VERB_CONTINUES
        if after_to or words[0] not in _ALSO_NOUNS or continues:
            return Kind.VERB
    if words[-1] in _BURDENS or (words[0] in _BURDENS and len(words) > 1 and words[1] in _PREPOSITIONS):
        return Kind.AWAY
    return Kind.NOUN


_STRUGGLES = (
    (r"imposter|impostor|self.?doubt|doubt|not good enough", "self-doubt"),
    (r"overthink|ruminat", "overthinking"),
    (r"panic", "panic"),
    (r"anxi|nervous", "anxiety"),
    (r"fear|afraid|scared", "fear"),
    (r"overwhelm|stress|pressure", "stress"),
    (r"worr", "worry"),
    (r"procrast|lazy|putting off", "delay"),
    (r"perfection", "perfectionism"),
    (r"ang(?:er|ry)|rage|temper", "anger"),
    (r"lonel|alone|isolat", "loneliness"),
    (r"burn.?out|exhaust|tired|fatigue", "tiredness"),
    (r"insomni|sleep", "restlessness"),
    (r"grie[fv]|sad|depress|loss", "sadness"),
    (r"sham|guilt", "shame"),
    (r"distract|focus|scatter", "distraction"),
)


def struggle_of(text: str) -> str | None:
    """A plain word for what someone struggles with, when one is known."""
    lower = text.lower()
    return next((word for pattern, word in _STRUGGLES if re.search(rf"\b(?:{pattern})", lower)), None)


def plain_phrase(text: str, most_words: int = 2) -> str | None:
    """The first plain English words of a value such as "Family" or "inner peace"; None when there are none."""
    words = re.findall(r"[a-z]+(?:-[a-z]+)*", unicodedata.normalize("NFKC", text).lower())[:most_words]
    phrase = " ".join(words)
    usable = phrase and all(1 < len(word) <= MAX_WORD_LETTERS for word in words)
    return phrase if usable and not line_violations(f"{phrase} x x x x x") else None
