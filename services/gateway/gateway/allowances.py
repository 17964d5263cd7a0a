"""How often one user or one address may ask. Every number is here; which route has which is in ``routes.py``."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Allowance:
    """``times`` requests in a window of ``seconds`` that begins with the first of them."""

    name: str
    times: int
    seconds: int
    per: Literal["user", "address"]


GENERATING = Allowance("generating", 5, 60, "user")
"""Each one pays a language model. What the app was made for."""

CHANGING = Allowance("changing", 1200, 60, "user")
"""Everything else that writes. Nobody's thumb does 20 a second; a script that runs wild does.

Signed-in reads have none but exports: the app polls, a read is one look-up by index, and counting would cost every
request.
"""

EXPORTING = Allowance("exporting", 10, 600, "user")
"""Each one reads everything that every service holds of the user: the one read that is not a look-up."""

SYNCING = Allowance("syncing", 60, 60, "user")
"""Each one may ask the store, which allows all our users together a few a second."""

PLAYING = Allowance("playing", 1200, 60, "address")
"""Pages that are found by a secret in their address. A player asks once or twice per session started, so this is some
ten starts a second behind one address of a mobile network, and no speed at which to look for a secret."""

BROWSING = Allowance("browsing", 300, 60, "address")
"""Pages for developers."""

NOTIFYING = Allowance("notifying", 4000, 10, "address")
"""Webhooks. A provider that catches up after an outage sends hundreds a second and reads 429 as a failed delivery, so
this stops nothing but floods: 400 a second, in a window short enough that the next try gets through."""

GUESSING = Allowance("guessing", 3000, 60, "address")
"""Session tokens that were refused. An app whose token went stale polls once a second, so fifty of them behind one
address come here; a search for a token would need many powers of ten more. Requests without a token guess nothing and
are not counted. Past the number, tokens found good before are still let in from that address; all others wait."""
