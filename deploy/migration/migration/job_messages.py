"""What media says of a recorded render job, for many jobs at once: all messages of a run differ in five words only.

Ids follow from the session's: told twice it is one message.
"""

from datetime import datetime
from hashlib import sha1
from json.encoder import encode_basestring_ascii as quoted
from uuid import UUID

from common.clock import wire_time
from common.contracts.media import AudioRequested
from common.messaging.envelope import Envelope
from common.tracing import current_trace

_OURS = UUID("5e2c7a30-6f5d-4c1e-9a53-0a1c8b1f7d42").bytes
"""The namespace of ids that follow from a session's."""
_VERSION_AND_VARIANT = 0xF << 76 | 0xC << 60
_FIVE_OF_RFC_4122 = 0x5 << 76 | 0x8 << 60


def following_id(name: str) -> str:
    """uuid5 in this namespace, as text, without an object for each."""
    digest = int.from_bytes(sha1(_OURS + name.encode(), usedforsecurity=False).digest()[:16])
    made = f"{digest & ~_VERSION_AND_VARIANT | _FIVE_OF_RFC_4122:032x}"
    return f"{made[:8]}-{made[8:12]}-{made[12:16]}-{made[16:20]}-{made[20:]}"


class JobMessages:
    """Writes the outbox's row of each job: id, type, subject and body."""

    def __init__(self, now: datetime) -> None:
        self._traced = current_trace()
        self._time = wire_time(now)
        self._owned, self._unowned = self._form("%(owner)s"), self._form(None)

    def __call__(self, job_id: str, session_id: str, owner: str | None, lines_hash: str) -> tuple[str, str, str, str]:
        identity = following_id(job_id)
        words = {"id": identity, "job": job_id, "lines": lines_hash, "session": quoted(session_id)}
        if owner is None:
            return identity, AudioRequested.type, session_id, self._unowned % words
        return identity, AudioRequested.type, session_id, self._owned % (words | {"owner": quoted(owner)})

    def _form(self, owner: str | None) -> str:
        """A whole message with places for the words that differ. Nothing else in it can hold a per cent sign."""
        event = AudioRequested(
            job_id="%(job)s", session_id="%(session)s", user_id=owner, lines_hash="%(lines)s", sequence=2
        )
        message = Envelope(
            id="%(id)s",
            source=f"/{event.owner}",
            type=event.type,
            subject=event.subject,
            time=self._time,
            data=event.model_dump(mode="json", by_alias=True, exclude_none=True),
            sequence=event.sequence,
            traceparent=self._traced.traceparent,
            correlationid=self._traced.correlation_id,
        ).to_json()
        for place in ("%(session)s", "%(owner)s"):  # any text, so its own quotation marks come with it
            message = message.replace(f'"{place}"', place)
        return message
