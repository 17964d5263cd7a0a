"""Makes from the code what describes it: golden event schemas, AsyncAPI and OpenAPI, `.env.example` and papers in docs.

Published events only grow by optional fields. A change that a consumer could notice is refused, never written: give the
event a `.v2` beside the old one instead.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from architecture_paper import architecture_paper
from billing.service import build as build_billing
from billing.settings import BillingSettings
from common.contracts.asyncapi import EVENTS, document, schema_of
from common.contracts.compatibility import breaks
from common.service import Service
from events_paper import events_paper
from gateway.docs import document_text, merge
from gateway.sign_out_feed import QUEUE as SIGN_OUTS
from identity.service import build as build_identity
from identity.settings import IdentitySettings
from media.service import build as build_media
from media.settings import MediaSettings
from settings_papers import env_example, settings_paper

REPOSITORY = Path(__file__).resolve().parents[2]
GOLDEN = Path("libs/common/common/contracts/golden")
PUBLIC = Path("services/gateway/gateway/openapi.json")


def main() -> int:
    """Writes what differs, or with --check only names it. 1 when something is refused, or found to differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is not what it should be")
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="the repository (default: this one)")
    arguments = parser.parse_args()
    refused = list(refusals(arguments.root / GOLDEN))
    for line in refused:
        print(line, file=sys.stderr)
    if refused:
        return 1
    described = descriptions(arguments.root / GOLDEN)
    stale = {path: text for path, text in described.items() if not _holds(arguments.root / path, text)}
    for path, text in stale.items():
        if arguments.check:
            print(f"{path} is not what the code says: run `make contracts`", file=sys.stderr)
        else:
            _write(arguments.root / path, text)
            print(f"wrote {path}")
    return 1 if stale and arguments.check else 0


def refusals(golden: Path) -> Iterator[str]:
    """Why the events must not be published as they are."""
    known = {event.type for event in EVENTS}
    for file in sorted(golden.glob("*.schema.json")):
        kind = file.name.removesuffix(".schema.json")
        if kind not in known:
            yield f"{kind} was published and is gone: keep its class and its place in EVENTS"
    for event in EVENTS:
        published = golden / f"{event.type}.schema.json"
        if published.exists():
            for line in breaks(_read(published), schema_of(event)):
                yield f"{event.type}: {line}. Consumers rely on it: make a new version beside it"
        if not (golden / f"{event.type}.example.json").exists():
            yield f"{event.type} has no example: write a whole message to {GOLDEN}/{event.type}.example.json"


def descriptions(golden: Path) -> dict[Path, str]:
    """Every generated file and its content; ``golden`` holds the examples of events."""
    events: dict[Path, Any] = {GOLDEN / f"{event.type}.schema.json": schema_of(event) for event in EVENTS}
    wired = services()
    apis = {service.name: service.app.openapi() for service in wired}
    consumers = [*(one.binding for service in wired for one in service.subscriptions), SIGN_OUTS]
    documents = {
        **events,
        Path("docs/asyncapi.json"): document(),
        **{Path(f"docs/openapi/{name}.json"): api for name, api in apis.items()},
        PUBLIC: merge(apis.values()),
    }
    papers = {
        Path(".env.example"): env_example(),
        Path("docs/settings.md"): settings_paper(),
        Path("docs/events.md"): events_paper(consumers, golden),
        Path("docs/architecture.md"): architecture_paper(wired, consumers, REPOSITORY / "docker-compose.yml"),
    }
    return {path: document_text(content) for path, content in documents.items()} | papers


def services() -> list[Service]:
    """The services whose HTTP is public, wired and never started. Nothing in these settings is ever used."""
    shared: dict[str, Any] = {
        "database_url": "postgresql://nobody@127.0.0.1/nowhere",
        "gateway_jwks_url": "http://127.0.0.1/.well-known/jwks.json",
    }
    secret = "stands-for-a-secret"
    billing = BillingSettings(**shared, revenuecat_api_key=secret, revenuecat_webhook_secrets=(secret,))
    media = MediaSettings(**shared, aws_s3_bucket_name="nowhere", public_url="http://127.0.0.1")
    identity = IdentitySettings(**shared, clerk_secret_key=secret)
    return [build_identity(identity), build_billing(billing), build_media(media)]


def _read(file: Path) -> Any:
    return json.loads(file.read_text("utf-8"))


def _holds(file: Path, text: str) -> bool:
    return file.exists() and file.read_text("utf-8") == text


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")


if __name__ == "__main__":
    sys.exit(main())
