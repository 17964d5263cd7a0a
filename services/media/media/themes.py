"""Sentences written for what people most often ask for: whole lines of their own, beside the phrases of `phrases.py`.

A line of a theme is said where it says a word of the goal and names nothing that the goal does not: whoever wants to be
a better dad is no mom. Those after `--` also stand beside the others, so each of them suits everybody whose goal is
about the theme.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from media.theme_lines import PLAIN, TENDER

_SHORT = 4
_STEM = 4
_SOMEBODY = r"dogs?\b|father|mother"
_PARTING = re.compile(
    r"\b(?:leav(?:e|ing)|divorc\w*|end(?:ing)?|escap(?:e|ing)|toxic|abusive|cheat\w*)\b.*"
    r"\b(?:marriage|relationship|husband|wife|partner|boyfriend|girlfriend)\b"
    r"|\b(?:on my own|being single|be single)\b|\bafter (?:\w+ ){1,3}of marriage\b"
)
"""Who leaves somebody hears nothing about staying."""
_ENDING = r"(?:s|es|ed|d|[a-z]?ing|er)?\b"


@dataclass(frozen=True, slots=True)
class Theme:
    """`about` finds the theme in a goal in lower case; a `tender` one leaves no room for other themes."""

    about: re.Pattern[str]
    lines: tuple[str, ...]
    beside: tuple[str, ...]
    names: re.Pattern[str]
    tender: bool = False

    def lines_for(self, goal: str, words: Sequence[str]) -> list[str]:
        """The lines that say one of the goal's words and name nothing else."""
        named = self._named(goal)
        return [
            line for line in self.lines if says(line, words) and (line in self.beside or self._named(line) <= named)
        ]

    def _named(self, text: str) -> set[str]:
        return {found[0][:_STEM] for found in self.names.finditer(text.lower())}


def themes_of(goal: str) -> list[Theme]:
    """At most two themes of a goal, in the order in which it comes to them; a tender one stands alone."""
    found = [(match.start(), theme) for theme in THEMES if (match := theme.about.search(goal.lower()))]
    if _PARTING.search(goal.lower()):
        found = [(place, theme) for place, theme in found if not theme.about.search("marriage")]
    found.sort(key=lambda place: place[0])
    tender = [theme for _, theme in found if theme.tender]
    return tender[:1] or [theme for _, theme in found[:2]]


def says(line: str, words: Sequence[str]) -> bool:
    """Whether a line says one of the words itself, in whatever form: "runs" for "run", and "moments" not for "mom"."""
    return any(re.search(rf"\b{word}{'' if len(word) > _SHORT else _ENDING}", line.lower()) for word in words)


def _theme(about: str, lines: str, tender: bool = False) -> Theme:
    speaking, beside = ([line.strip() for line in part.strip().splitlines()] for part in lines.split("--"))
    names = re.compile(rf"\b(?:{about}|{_SOMEBODY})")
    return Theme(re.compile(rf"\b(?:{about})"), (*speaking, *beside), tuple(beside), names, tender)


THEMES = (*(_theme(*written, tender=True) for written in TENDER), *(_theme(*written) for written in PLAIN))
