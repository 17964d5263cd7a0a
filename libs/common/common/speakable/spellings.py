"""Texts as the word rules read them: whatever somebody does to a word to get it past them, or types in a hurry."""

from __future__ import annotations

import re
import unicodedata

_LEET = str.maketrans("013457@$", "oieastas")
_SPELLED_OUT = re.compile(r"\b(?:\w[.*_-]){2,}\w\b|\b(?:[a-z] ){4,}[a-z]\b")
_HURRIED = tuple(
    (re.compile(rf"\b(?:{hurried})\b"), meant)
    for hurried, meant in (
        ("wanna|wana|wanto", "want to"),
        ("gonna|gunna", "going to"),
        ("(?<=want )2(?= )|(?<=need )2(?= )", "to"),
        ("dont|do n't", "don't"),
        ("doesnt", "doesn't"),
        ("didnt", "didn't"),
        ("cant", "can't"),
        ("wont", "won't"),
        ("wouldnt", "wouldn't"),
        ("isnt", "isn't"),
        ("wasnt", "wasn't"),
        ("im", "i'm"),
        ("id(?= rather)", "i'd"),
        ("my self|myslef|mysef|mself|meself|myselff|mysellf", "myself"),
        ("kil|kll|kiill", "kill"),
        ("killin", "killing"),
        (r"sucid\w*|suucid\w*|suicd\w*|suicidle|sueside|suiside|siucid\w*", "suicide"),
        ("livin|livng", "living"),
        ("dissapear|dissappear|disapear|dissapeer", "disappear"),
        ("exsist|exhist|excist|exsit", "exist"),
        ("dnt|donot|don;t", "don't"),
        ("wnat|wnt|watn", "want"),
        ("wud|wuld|woud|woudl", "would"),
        ("tierd|tird", "tired"),
        ("alife|aliv", "alive"),
        ("anymor|nymore", "anymore"),
        ("hert(?= my)|hurtin", "hurt"),
        ("dye(?!ing| my| the| her| his| it| a| some|d)", "die"),
        ("pils|pillz", "pills"),
        ("b(?= (?:alive|dead|here|gone)\\b)", "be"),
        ("(?:any|no) ?more(?=\\W*$)", "anymore"),
        ("imma|ima|i'ma", "i'll"),
        ("ded", "dead"),
        ("lyfe|lief", "life"),
        ("2nite|tonite|2night", "tonight"),
        ("2day", "today"),
        ("no more(?= gonna|, gonna)", "anymore"),
        ("killmyself", "kill myself"),
        ("dieing|dyeing(?= (?:and|every))", "dying"),
    )
)


def any_of(text: str) -> re.Pattern[str]:
    """One pattern of the lines of ``text``, any of which may be found; one that begins with ``+`` goes on."""
    lines = re.sub(r"\n\s*\+ ", "", text.strip()).splitlines()
    return re.compile("|".join(f"(?:{line.strip()})" for line in lines))


def readings(text: str) -> list[str]:
    """The ways a text may be meant, in lower case: as it stands, and with letters put for figures."""
    plain = unicodedata.normalize("NFKC", text).lower().replace("’", "'").replace("‘", "'")
    plain = " ".join(_SPELLED_OUT.sub(lambda found: re.sub(r"[ .*_-]", "", found[0]), plain).split())
    return list(dict.fromkeys(_unhurried(form) for form in (plain, plain.translate(_LEET))))


def _unhurried(text: str) -> str:
    for pattern, meant in _HURRIED:
        text = pattern.sub(meant, text)
    return text
