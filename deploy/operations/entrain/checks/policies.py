"""The broker's policies, as its management API tells them to an administrator."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from common.messaging.bus import UNROUTED
from entrain.checks.broker import NONE, QUEUES
from entrain.deployment import Deployment
from entrain.findings import Check, Outcome, fail, ok, said, skip
from entrain.outside import FAILED, ask

DEFINITIONS = Path(__file__).parents[3] / "rabbitmq" / "definitions.json"
HELD = (*(f"{queue}{end}" for queue in QUEUES for end in ("", ".retry", ".parked")), UNROUTED)
APPLY = "run deploy/rabbitmq/apply_definitions.py: it puts the policies back, and may be repeated"


async def _policies(deployment: Deployment) -> Outcome:
    url = deployment.broker_url("identity")
    api = deployment.broker_api
    if url is None or api is None:
        return skip(NONE if url is None else "no RABBITMQ_API_URL: only the broker's administrator sees its policies")
    vhost = unquote(urlsplit(url).path[1:]) or "/"
    headers = {"Authorization": f"Basic {b64encode(f'{api.user}:{api.password}'.encode()).decode()}"}
    columns = "name,policy,effective_policy_definition"
    try:
        reply = await ask(f"{api.url}/api/queues/{quote(vhost, safe='')}?columns={columns}", headers=headers)
    except FAILED as error:
        return fail(f"the management API cannot be reached: {said(error)}", "check host and port of RABBITMQ_API_URL")
    queues = reply.document()
    if reply.status != 200 or not isinstance(queues, list):
        advice = "RABBITMQ_API_USER and RABBITMQ_API_PASSWORD must be those of an administrator of the broker"
        return fail(f"the management API answered {reply.status}", advice)
    wrong = list(_differing({queue["name"]: queue for queue in queues}))
    if wrong:
        return fail("; ".join(wrong), APPLY)
    return ok(f"in force on {len(HELD)} queues as defined")


def _differing(queues: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    policies = json.loads(DEFINITIONS.read_text())["policies"]
    for name in HELD:
        wanted = next(policy for policy in policies if re.search(policy["pattern"], name))
        found = queues.get(name)
        if found is not None and found.get("effective_policy_definition") != wanted["definition"]:
            yield f"{name} has {found.get('policy') or 'no policy'}, not {wanted['name']} as defined"


CHECKS = (Check("broker.policies", _policies),)
"""A queue that is not there is told of by its own check."""
