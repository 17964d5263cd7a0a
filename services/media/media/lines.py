"""The text of a line, before anything speaks it: one normal form, bounded, and without what an engine would read aloud
as code.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii

from media.speech import Unspeakable

MAX_LINE_CHARACTERS = 400
"""Longest line that is spoken, after normalising: about half a minute a read."""

_TAG = re.compile(r"<[/!?]?[A-Za-z][^<>]*>")
_NOT_SPOKEN = re.compile(r"[<>\[\]{}|\\^~_`*#]+")
_SPACE = re.compile(r"\s+")
_PUNCTUATION = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "\u00a0": " "})
_SPEAKABLE = re.compile(r"[A-Za-z0-9]")
_LETTERS = frozenset({"Lu", "Ll", "Lt", "Lo"})
_DROPPED_CATEGORIES = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "So", "Sk"})


def normalise(text: str) -> str:
    """The one form in which a line is spoken and recognised again: NFC, tags, brackets, control characters and
    pictures gone, white space folded.

    Raises Unspeakable when nothing is left that an English voice can say, or more than MAX_LINE_CHARACTERS.
    """
    text = unicodedata.normalize("NFC", text).translate(_PUNCTUATION)
    # Line breaks are control characters too, and they separate words.
    text = _SPACE.sub(" ", text)
    text = "".join(" " if unicodedata.category(char) in _DROPPED_CATEGORIES else char for char in text)
    text = _NOT_SPOKEN.sub(" ", _TAG.sub(" ", text))
    text = _SPACE.sub(" ", text).strip()
    if not _SPEAKABLE.search(unicodedata.normalize("NFKD", text)):
        raise Unspeakable("This line has no words the voice can say.")
    if len(text) > MAX_LINE_CHARACTERS:
        raise Unspeakable(f"This line has {len(text)} characters; {MAX_LINE_CHARACTERS} can be spoken.")
    return text


def require_speakable(text: str) -> None:
    """Raises Unspeakable for a line of which a voice would leave out words, or say none: the voices speak English.

    Cheap, so that a door can ask. What is stored already is still spoken as far as it goes.
    """
    for char in unicodedata.normalize("NFKD", normalise(text)):
        if unicodedata.category(char) in _LETTERS and not unicodedata.name(char, "").startswith("LATIN "):
            raise Unspeakable(f"The voices speak English and cannot say “{char}”.")


def hash_of_lines(lines: Sequence[str]) -> str:
    """sha256 (hex) of a form that tells any two lists of lines apart, whatever characters they hold."""
    # as json.dumps writes the list, in a third of the time
    return hashlib.sha256(f"[{', '.join(map(encode_basestring_ascii, lines))}]".encode()).hexdigest()
