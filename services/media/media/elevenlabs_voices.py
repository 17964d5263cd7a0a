"""Which of ElevenLabs' voices is which of the app's."""

from __future__ import annotations

import re
from collections.abc import Mapping

DEFAULT_VOICES: Mapping[str, str] = {
    "nova": "EXAVITQu4vr4xnSDxMaL",  # Sarah
    "shimmer": "pFZP5JQG7iQjIQuC4Bku",  # Lily
    "alloy": "SAz9YHcvj6GT2YYXdXww",  # River
    "onyx": "nPczCjzI2devNBz1zQrb",  # Brian
    "echo": "JBFqnCBsd6RMkjVDRZzb",  # George
    "fable": "Xb7hH8MSUJpSbSDYk0k2",  # Alice
}
"""What ElevenLabs calls default voices. Accounts made since March 2026 have none, and at the end of 2026 they are to
go: production names voices of its own account.
"""
_VOICE_ID = re.compile(r"[A-Za-z0-9]{8,64}")


def voices_named(named: str) -> dict[str, str]:
    """From ``nova=id,onyx=id``. Raises ValueError for a voice the app does not have and for what is no id."""
    pairs = [part.strip().partition("=") for part in named.split(",") if part.strip()]
    for voice, _, identity in pairs:
        if voice.strip() not in DEFAULT_VOICES or not _VOICE_ID.fullmatch(identity.strip()):
            raise ValueError(f"{voice.strip()!r}: write nova=ID, with {', '.join(DEFAULT_VOICES)} and ElevenLabs' ids")
    return {voice.strip(): identity.strip() for voice, _, identity in pairs}
