"""Where in the bucket each kind of object lies. The beds' own names are in `beds.py`.

- `audio/session/<session id>/` a session's file and its certificate, named by what the file says; clients keep it for a
  year. Goes with the session; what no row names goes after a day.
- `audio/line/<2>/<key>` spoken lines, by the hash of all that shapes them; never delivered. A line goes with the last
  session that says it, and may be taken by the bucket's own rule when no render has used it for half a year.
- `audio/background/`, `audio/binaural/`, `audio/solfeggio/` the beds under the app's names, each with its certificate;
  clients ask again after five minutes. They stay.
"""

import re

SESSIONS = "audio/session/"
LINES = "audio/line/"
BEDS = ("audio/background/", "audio/binaural/", "audio/solfeggio/")
"""The same for everybody who may listen at all."""

_SESSION = re.compile(rf"{SESSIONS}([^/]+)/.+")
_LINE = re.compile(rf"{LINES}[^/]+/([0-9a-f]{{64}})")


def session_prefix(session_id: str) -> str:
    """Under which everything made for one session lies."""
    return f"{SESSIONS}{session_id}/"


def line_object(line_key: str) -> str:
    """Where a spoken line lies, for all sessions that use it."""
    return f"{LINES}{line_key[:2]}/{line_key}"


def session_of(key: str) -> str | None:
    """Id of the session an object was made for."""
    found = _SESSION.fullmatch(key)
    return found[1] if found else None


def line_of(key: str) -> str | None:
    """Key of the spoken line an object holds."""
    found = _LINE.fullmatch(key)
    return found[1] if found else None


def file_beside(key: str) -> str:
    """The file to which a certificate belongs; any other key is itself."""
    return f"{key.removesuffix('.json')}.m4a" if key.endswith(".json") else key
