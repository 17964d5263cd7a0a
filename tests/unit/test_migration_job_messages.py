"""Messages of moved jobs are written from one form: they are what media itself would have written."""

from datetime import UTC, datetime
from hashlib import sha256
from json import dumps
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.clock import wire_time
from common.contracts.media import AudioRequested
from common.messaging.envelope import Envelope
from common.tracing import current_trace, enter_trace
from media.lines import hash_of_lines
from migration.job_messages import JobMessages, following_id

NOW = datetime(2026, 11, 26, 12, 0, 0, 123456, UTC)
OURS = UUID("5e2c7a30-6f5d-4c1e-9a53-0a1c8b1f7d42")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(["%(owner)s", '"%', "\\%s"])


@pytest.fixture(scope="module", autouse=True)
def traced() -> None:
    enter_trace(current_trace())


@given(TEXTS, TEXTS, st.none() | TEXTS)
def test_a_message_is_what_media_writes(job: str, session: str, owner: str | None) -> None:
    job_id, lines_hash = following_id(job), hash_of_lines([session])
    event = AudioRequested(job_id=job_id, session_id=session, user_id=owner, lines_hash=lines_hash, sequence=2)
    expected = Envelope(
        id=str(uuid5(OURS, job_id)),
        source="/media",
        type=event.type,
        subject=session,
        time=wire_time(NOW),
        data=event.model_dump(mode="json", by_alias=True, exclude_none=True),
        sequence=2,
        traceparent=current_trace().traceparent,
        correlationid=current_trace().correlation_id,
    )
    written = JobMessages(NOW)(job_id, session, owner, lines_hash)
    assert written == (expected.id, "media.audio_requested.v1", session, expected.to_json())


@given(TEXTS)
def test_following_ids_are_of_version_five(name: str) -> None:
    assert following_id(name) == str(uuid5(OURS, name))


@given(st.lists(TEXTS))
def test_lines_are_hashed_as_json(lines: list[str]) -> None:
    assert hash_of_lines(lines) == sha256(dumps(lines).encode()).hexdigest()
