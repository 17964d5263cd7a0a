"""`docs/architecture.md`: drawings of the wiring that compose, route table, subscriptions and models hold."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import Dialect, MetaData, Table
from sqlalchemy.dialects import postgresql
from sqlmodel import SQLModel

from common.contracts.asyncapi import EVENTS
from common.db.retention import HANDLED_KEPT, PUBLISHED_KEPT
from common.db.tables import erased_user_table, inbox_table, outbox_table
from common.messaging.bus import Binding
from common.service import Service
from gateway.routes import ROUTES

_INTRODUCTION = """\
# Architecture

Drawn by `make contracts` from the code's own wiring, named above each drawing. In words: [README.md](../README.md); why
it is so: [adr](adr); what crosses which boundary, and what keeps it: [SECURITY.md](../SECURITY.md).
"""
_PROCESSES = """
## Processes, networks and who talks to whom

From [docker-compose.yml](../docker-compose.yml): a frame for each set of networks, which is what a process can reach,
and an arrow for each address it is given. Only `edge` has a way out, and only the gateway is published. Workers listen
on nothing but their health.

"""
_ROUTES = """
## Routes

From [the gateway's route table](../services/gateway/gateway/routes.py). What is not listed is 404 for everybody.

"""
_ROUTE_HEAD = """\
| methods | path | answered by | needs | token carried on to | only in person |
|---|---|---|---|---|---|"""
_QUEUES = """
## Events

From the services' subscriptions; what each event says: [events.md](events.md). Beside each queue stand `….retry`, from
which a message comes back, and `….parked`, where it waits for a person.

"""
_WORK = """
## What a worker does

From `service.py` of each service. Every worker also runs the relay of its outbox, counts what is parked,
and forgets what was kept for long enough.

"""
_TABLES = """
## Tables

From the models. A schema belongs to one role and one service. `outbox`, `inbox` and, but for identity, `erased_user`
are in each and not drawn. What is kept for no set time goes with its user, or when its work is done.
"""
_OUTSIDE = {
    "CLERK_JWKS_URL": "Clerk",
    "CLERK_API_URL": "Clerk",
    "SUPABASE_URL": "Supabase",
    "REVENUECAT_API_URL": "RevenueCat",
    "OPENAI_BASE_URL": "OpenAI",
    "ELEVENLABS_BASE_URL": "ElevenLabs",
    "RATE_LIMIT_STORAGE_URL": "Valkey",
}
"""Who answers at an address that compose does not run; one that is not named here shows its variable."""
_POSTGRESQL: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
_KINDS = {"timestamp with time zone": "timestamptz", "double precision": "float"}
_IN_EVERY_SCHEMA = {"outbox": outbox_table, "inbox": inbox_table, "erased_user": erased_user_table}
_ADDRESS = re.compile(r"(?://|@)([a-z][a-z-]*):(\d+)")


def architecture_paper(services: Sequence[Service], consumers: Sequence[Binding], compose_file: Path) -> str:
    compose = yaml.safe_load(compose_file.read_text("utf-8"))["services"]
    lasting = {name: part for name, part in compose.items() if part.get("restart") == "unless-stopped"}
    parts = [
        _INTRODUCTION,
        _PROCESSES + _drawing("flowchart LR", _process_lines(lasting)),
        _ROUTES + _drawing("flowchart LR", _route_lines()) + _route_table(),
        _QUEUES + _drawing("flowchart LR", _event_lines(consumers)),
        _WORK + _work_table(services),
        _TABLES + "".join(_schema(service) for service in services),
    ]
    return "".join(parts)


def _drawing(kind: str, lines: Iterator[str]) -> str:
    return f"```mermaid\n{kind}\n" + "".join(f"  {line}\n" for line in lines) + "```\n"


def _process_lines(processes: Mapping[str, Any]) -> Iterator[str]:
    """The processes in the frame of the networks they are in, and an arrow for each address they are given."""
    frames: dict[str, list[str]] = {}
    for name, part in processes.items():
        frames.setdefault(" + ".join(part["networks"]), []).append(name)
        for _, target, outside in _targets(part, processes):
            if outside and target not in frames.setdefault("outside", []):
                frames["outside"].append(target)
    for number, (networks, names) in enumerate(frames.items()):
        yield f'subgraph network{number}["{networks}"]'
        yield from (f'  {_node(name)}["{name}"]' for name in names)
        yield "end"
    yield 'clients["mobile app, webhooks of Clerk and RevenueCat"] -->|a proxy that ends TLS| gateway'
    for name, part in processes.items():
        for label, target, _ in _targets(part, processes):
            yield f"{_node(name)} -->{label} {_node(target)}"


def _node(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", name)


def _targets(part: Mapping[str, Any], processes: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Whom a process is given the address of and can reach, each once: the port, whom, and whether that is outside."""
    found: dict[str, tuple[str, str, bool]] = {}
    for name, value in (part.get("environment") or {}).items():
        if name in ("HEALTH_URL", "PUBLIC_URL"):
            continue
        if address := _ADDRESS.search(str(value or "")):
            if set(part["networks"]) & set(processes[address[1]]["networks"]):
                found.setdefault(address[1], (f"|{address[2]}|", address[1], False))
        elif name.endswith("_URL") and "edge" in part["networks"]:
            whom = _OUTSIDE.get(name, name)
            found.setdefault(whom, ("", whom, True))
    return list(found.values())


def _route_lines() -> Iterator[str]:
    """One arrow from the gateway for each service, and the paths it stands for."""
    for service in dict.fromkeys(route.service for route in ROUTES):
        paths = "<br/>".join(f"{_methods(route.methods)} {route.path}" for route in ROUTES if route.service == service)
        end = f"{service}_itself" if service == "gateway" else service
        yield f'gateway --> {end}["{end.replace("_", " ")}<br/>{paths}"]'


def _methods(methods: frozenset[str]) -> str:
    return " ".join(sorted(methods))


def _route_table() -> str:
    rows = "".join(
        f"| `{_methods(route.methods)}` | `{route.path}` | {route.service} | {_who(route.public, route.webhook)} "
        f"| {', '.join(route.audiences[1:])} | {_methods(route.in_person)} |\n"
        for route in ROUTES
    )
    head = (
        "| methods | path | answered by | needs | token carried on to | only in person |\n|---|---|---|---|---|---|\n"
    )
    return f"\n{head}{rows}"


def _who(public: bool, webhook: bool) -> str:
    return "the sender's proof" if webhook else "nothing" if public else "a session token"


def _event_lines(consumers: Sequence[Binding]) -> Iterator[str]:
    for event in EVENTS:
        owner, kind, version = event.type.split(".")
        yield f'{owner}(["{owner}"]) --> {_node(event.type)}["{kind}.{version}"]'
    for consumer in consumers:
        reader, queue = consumer.queue.partition(".")[0], f'{_node(consumer.queue)}[("{consumer.queue}")]'
        for kind in consumer.types:
            yield f"{_node(kind)} --> {queue}"
        yield f'{queue} --> {reader}_reads(["{"every " if consumer.broadcast else ""}{reader}"])'


def _work_table(services: Sequence[Service]) -> str:
    rows = []
    for service in services:
        handlers = [f"handles `{one.queue}`" for one in service.subscriptions]
        loops = [f"`{name}`: {_said_of(getattr(loop, 'func', loop))}" for name, loop in service.loops.items()]
        rows.append(f"| {service.name} | {'<br/>'.join([*handlers, *loops])} |\n")
    return "| worker | work |\n|---|---|\n" + "".join(rows)


def _schema(service: Service) -> str:
    tables = service.metadata.sorted_tables
    holds = {**_IN_EVERY_SCHEMA, **_models(service.metadata)}
    kept = _kept(service)
    names = sorted(table.name for table in tables)
    rows = "".join(f"| `{name}` | {_said_of(holds[name])} | {kept.get(name, '')} |\n" for name in names)
    own = [table for table in tables if table.name not in _IN_EVERY_SCHEMA]
    drawing = _drawing("erDiagram", (line for table in own for line in _table_lines(table)))
    return f"\n### {service.name}\n\n{drawing}\n| table | holds | kept |\n|---|---|---|\n{rows}"


def _kept(service: Service) -> dict[str, str]:
    own = {
        one.table.name: f"{'at least ' if one.only is not None else ''}{one.kept.days} days from `{one.since}`"
        for one in service.retentions
    }
    shared = {
        "outbox": f"{PUBLISHED_KEPT.days} days from `published_at`",
        "inbox": f"{HANDLED_KEPT.days} days from `handled_at`",
    }
    return own | shared


def _models(metadata: MetaData) -> dict[str, type[SQLModel]]:
    bases = [base for base in SQLModel.__subclasses__() if base.metadata is metadata]
    return {str(model.__tablename__): model for base in bases for model in base.__subclasses__()}


def _said_of(thing: Any) -> str:
    """The first paragraph of what stands in the code."""
    first = (thing.__doc__ or "").strip().partition("\n\n")[0]
    return " ".join(first.split()).replace("``", "`").replace("|", r"\|")


def _table_lines(table: Table) -> Iterator[str]:
    yield f"{table.name} {{"
    for column in table.columns:
        marks = [mark for mark, holds in (("PK", column.primary_key), ("FK", bool(column.foreign_keys))) if holds]
        kind = column.type.compile(_POSTGRESQL).lower()
        yield f"  {_KINDS.get(kind, kind)} {column.name} {', '.join(marks)}".rstrip()
    yield "}"
    for key in table.foreign_keys:
        one = [column.name for column in table.primary_key] == [key.parent.name]
        yield f"{key.column.table.name} {'||--o|' if one else '||--o{'} {table.name} : {key.parent.name}"
