"""``python -m <service> parked list | show | replay | drop``: on both buses, and as a process on RabbitMQ."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from common.clock import utc_now
from common.command_line import parser
from common.contracts.identity import UserChanged
from common.errors import PermanentError
from common.messaging import parking
from common.messaging.bus import Binding, ParkedMessages
from common.messaging.envelope import Envelope
from common.messaging.parking import manage_parked
from common.messaging.postgres import PostgresBus, PostgresParked
from common.messaging.rabbit import RabbitBus
from common.messaging.replay import RabbitParked
from common.tracing import current_trace
from tests.support.event_ledger import QUEUE, change, until

pytestmark = pytest.mark.direct("a bus on PostgreSQL takes the direct address, and the command asks no database")
OTHER = "ledger.other"
REPOSITORY = Path(__file__).resolve().parents[2]


class Desk:
    """A bus with parked messages, and the command that looks at them."""

    def __init__(self, bus: Any, parked: ParkedMessages) -> None:
        self.bus = bus
        self.parked = parked
        self.handled: list[str] = []
        self.refusing = True

    async def park(self, *users: str) -> list[Envelope]:
        """Publishes one message a user, each refused and parked in both queues' first."""
        sent = [Envelope.of(change(user, 1), at=utc_now(), trace=current_trace()) for user in users]
        for envelope in sent:
            await self.bus.publish(envelope)

        async def all_parked() -> bool:
            return (await self.parked.queues())[QUEUE] == len(users)

        await until(all_parked)
        return sent

    async def deliver(self, envelope: Envelope) -> None:
        if self.refusing:
            raise PermanentError(f"nobody knows {envelope.subject}")
        self.handled.append(envelope.id)

    async def command(self, *words: str, queues: tuple[str, ...] = (QUEUE,)) -> int:
        root, _ = parser("ledger", port=1, summary="")
        return await manage_parked(self.parked, queues, root.parse_args(["parked", *words]))

    async def left(self) -> list[str]:
        return [message.id for message in await self.parked.list(QUEUE)]


@pytest.fixture(params=["rabbitmq", "postgres"])
async def desk(request: pytest.FixtureRequest, database_url: str, rabbitmq_url: str) -> AsyncIterator[Desk]:
    async with AsyncExitStack() as stack:
        if request.param == "rabbitmq":
            rabbit = await stack.enter_async_context(RabbitBus(rabbitmq_url, name="test"))
            made = Desk(rabbit, RabbitParked(rabbit, rabbitmq_url, [QUEUE, OTHER]))
        else:
            postgres = await stack.enter_async_context(PostgresBus(database_url))
            made = Desk(postgres, PostgresParked(postgres))
        await made.bus.declare(Binding(OTHER, ()))
        await made.bus.consume(Binding(QUEUE, (UserChanged.type,)), made.deliver)
        yield made


async def test_list_names_every_message_with_reason_attempts_and_age(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = await desk.park("user_1", "user_2")
    assert await desk.command("list") == 0
    printed = capsys.readouterr().out
    for envelope in (one, two):
        assert f"{envelope.id}  {QUEUE}  {UserChanged.type}  attempts 1  since 20" in printed
        assert f"nobody knows {envelope.subject}" in printed
    assert printed.endswith("2 parked\n")
    assert '"specversion"' not in printed


async def test_show_prints_the_body_of_the_named_message_alone(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = await desk.park("user_1", "user_2")
    assert await desk.command("show", two.id) == 0
    printed = capsys.readouterr().out
    assert two.to_json() in printed
    assert one.id not in printed
    assert await desk.command("show", str(uuid4())) == 1


async def test_replay_hands_the_named_message_to_the_handler_again(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = await desk.park("user_1", "user_2")
    desk.refusing = False
    assert await desk.command("replay", one.id) == 0
    assert "1 put back into ledger.users" in capsys.readouterr().out

    async def handled() -> bool:
        return desk.handled == [one.id]

    await until(handled)
    assert await desk.left() == [two.id]


async def test_replaying_everything_while_it_fails_again_ends_and_loses_nothing(desk: Desk) -> None:
    sent = await desk.park("user_1", "user_2", "user_3")
    assert await desk.command("replay", "--all") == 0

    async def parked_again() -> bool:
        return sorted(await desk.left()) == sorted(envelope.id for envelope in sent)

    await until(parked_again)


async def test_drop_removes_the_named_message_for_good(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = await desk.park("user_1", "user_2")
    assert await desk.command("drop", one.id) == 0
    assert "1 dropped from ledger.users" in capsys.readouterr().out
    assert await desk.left() == [two.id]
    assert await desk.command("drop", one.id) == 1
    assert await desk.command("drop", "--all") == 0
    assert await desk.left() == []
    assert desk.handled == []


async def test_more_than_are_shown_are_counted_and_searched(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "MOST_SHOWN", 2)
    sent = {envelope.id for envelope in await desk.park("user_1", "user_2", "user_3")}
    assert await desk.command("list") == 0
    printed = capsys.readouterr().out
    assert printed.endswith("3 parked, 2 of them shown\n")
    [unseen] = {one for one in sent if one not in printed}
    assert await desk.command("show", unseen) == 0
    assert unseen in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, complaint",
    [
        (("replay",), "name message ids, or --all"),
        (("drop",), "name message ids, or --all"),
        (("drop", "--all"), "name one queue with --queue"),
        (("list", "--queue", "nobody.knows"), "there is no queue nobody.knows"),
    ],
)
async def test_an_unclear_command_changes_nothing_and_says_what_is_missing(
    desk: Desk, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], complaint: str
) -> None:
    [envelope] = await desk.park("user_1")
    assert await desk.command(*words, queues=(QUEUE, OTHER)) == 2
    assert complaint in capsys.readouterr().err
    assert await desk.left() == [envelope.id]


async def test_one_of_several_queues_is_named(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    await desk.park("user_1")
    assert await desk.command("list", queues=(QUEUE, OTHER)) == 0
    assert "1 parked" in capsys.readouterr().out
    assert await desk.command("drop", "--all", "--queue", QUEUE, queues=(QUEUE, OTHER)) == 0
    assert await desk.left() == []


def test_the_command_runs_before_the_first_worker_ever_did(database_url: str, rabbitmq_url: str) -> None:
    env = {"PATH": os.environ["PATH"], "DATABASE_URL": database_url, "RABBITMQ_URL": rabbitmq_url}
    ran = subprocess.run(
        [sys.executable, "-m", "tests.support.small_service", "parked", "list"],
        cwd=REPOSITORY,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "0 parked\n"), ran.stderr
