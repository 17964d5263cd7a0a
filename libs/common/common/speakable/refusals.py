"""How it is said that something is not read out, and where somebody in a crisis finds help."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from common.errors import DomainError
from common.speakable.words import Category, judge_words

HELP: tuple[dict[str, str], ...] = (
    {"region": "US", "name": "988 Suicide & Crisis Lifeline", "phone": "988"},
    {"region": "CA", "name": "9-8-8 Suicide Crisis Helpline", "phone": "988"},
    {"region": "GB", "name": "Samaritans", "phone": "116 123"},
    {"region": "IE", "name": "Samaritans", "phone": "116 123"},
    {"region": "AU", "name": "Lifeline", "phone": "13 11 14"},
    {"region": "DE", "name": "TelefonSeelsorge", "phone": "0800 111 0 111"},
    {"region": "US", "name": "National Domestic Violence Hotline", "phone": "1-800-799-7233"},
    {"region": "GB", "name": "National Domestic Abuse Helpline", "phone": "0808 2000 247"},
    {"region": "*", "name": "Find A Helpline", "url": "https://findahelpline.com"},
)
"""Where to turn, by region; `*` is everywhere."""


@dataclass(frozen=True, slots=True)
class Flag:
    """The text at ``index`` of those judged may not be spoken."""

    index: int
    category: Category


class ContentRefused(DomainError):
    """This is not something we read out; `details.fieldErrors` says where it stands."""

    code = "CONTENT_REFUSED"
    sample_details: ClassVar[Any] = {
        "formErrors": [],
        "fieldErrors": {"affirmations": ["Line 2 is not something we can read out."]},
        "lines": [1],
    }


class CrisisSupport(DomainError):
    """These words sound like a crisis; `details.resources` says where to find help now."""

    code = "CRISIS_SUPPORT"
    sample_details: ClassVar[Any] = {"resources": list(HELP)}

    def __init__(self) -> None:
        message = "It sounds as if things are very hard right now. You deserve help from a person: please talk to one."
        super().__init__(message, details={"resources": list(HELP)})


def refuse(fields: Sequence[tuple[str, str]], flags: Sequence[Flag]) -> None:
    """``fields``: the name of each field and its text, lines in their order under one name; ``flags`` by their places.

    Raises CrisisSupport or ContentRefused; with no flags nothing.
    """
    if any(flag.category == "crisis" for flag in flags):
        raise CrisisSupport
    if not flags:
        return
    problems: dict[str, list[str]] = {}
    lines: list[int] = []
    for flag in flags:
        name = fields[flag.index][0]
        place = sum(other == name for other, _ in fields[: flag.index])
        where = f"Line {place + 1}" if name == "affirmations" else f"This {name}"
        problems.setdefault(name, []).append(f"{where} is not something we can read out.")
        if name == "affirmations":
            lines.append(place)
    first = next(iter(problems.values()))[0]
    details = {"formErrors": [], "fieldErrors": problems, "lines": lines}
    raise ContentRefused(f"{first} Please put it in other words.", details=details)


def require_speakable_words(fields: Sequence[tuple[str, str]]) -> None:
    """By the words alone, as `refuse`."""
    judged = [(index, judge_words(text)) for index, (_, text) in enumerate(fields)]
    refuse(fields, [Flag(index, category) for index, category in judged if category])
