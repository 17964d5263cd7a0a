"""What of a webhook may be logged."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.showing import REDACTED, redacted
from tests.support.billing import WEBHOOK_BODIES, event_body

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def test_no_recorded_webhook_shows_who_it_is_about() -> None:
    for path in WEBHOOK_BODIES:
        event = json.loads(path.read_bytes())["event"]
        shown = redacted(path.read_bytes())
        assert shown.keys() == event.keys(), path.name
        assert shown["type"] == event["type"]
        people = [event.get("app_user_id"), event.get("original_app_user_id"), *event.get("aliases", ())]
        people += [*event.get("transferred_from", ()), *event.get("transferred_to", ())]
        assert not [one for one in people if one and one in json.dumps(shown)], path.name


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=20), values, max_size=8))
def test_whatever_is_not_known_to_be_harmless_is_hidden(members: dict[str, Any]) -> None:
    body = event_body(**{f"new_{name}": value for name, value in members.items()})
    shown = redacted(body)
    assert {shown[f"new_{name}"] for name in members} <= {None, REDACTED}


@settings(deadline=None)
@given(st.binary())
def test_what_is_no_event_is_told_by_its_size(body: bytes) -> None:
    assert redacted(b"[" + body) in ({"unreadable_bytes": len(body) + 1}, {"without_event_bytes": len(body) + 1})
