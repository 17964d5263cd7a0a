"""What a person does with parked messages, at the command line and on either bus."""

import argparse
import sys
from collections.abc import Sequence
from typing import TypeAlias

from common.messaging.bus import ParkedMessages

MOST_SHOWN = 100
"""Of each queue."""
MOST_SEARCHED = 10_000
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_parked(commands: Commands) -> argparse.ArgumentParser:
    """Adds ``parked list|show|replay|drop`` to a command line; its arguments go to ``manage_parked``."""
    text = "look at messages that could not be handled, put them back or drop them"
    parked = commands.add_parser("parked", help=text, description=text)
    parked.add_argument("action", choices=("list", "show", "replay", "drop"))
    parked.add_argument("ids", nargs="*", metavar="ID", help="message ids, as `list` prints them")
    parked.add_argument("--all", action="store_true", help="replay or drop every message of the queue")
    parked.add_argument("--queue", help="one queue; needed for replay and drop when the service has several")
    return parked


async def manage_parked(parked: ParkedMessages, queues: Sequence[str], arguments: argparse.Namespace) -> int:
    """Lists, shows, replays or drops parked messages, on either bus."""
    if not queues:
        print("there are no queues here, and so nothing is parked")
        return 0
    chosen = [arguments.queue] if arguments.queue else list(queues)
    if any(queue not in queues for queue in chosen):
        print(f"there is no queue {arguments.queue}; choose from: {', '.join(queues)}", file=sys.stderr)
        return 2
    if arguments.action in ("list", "show"):
        return await _show(parked, chosen, arguments)
    if not arguments.ids and not arguments.all:
        print("name message ids, or --all", file=sys.stderr)
        return 2
    if len(chosen) > 1:
        print(f"name one queue with --queue: {', '.join(queues)}", file=sys.stderr)
        return 2
    act = parked.replay if arguments.action == "replay" else parked.drop
    count = await act(chosen[0], None if arguments.all else arguments.ids)
    print(f"{count} {'put back into' if arguments.action == 'replay' else 'dropped from'} {chosen[0]}")
    return 0 if count or arguments.all else 1


async def _show(parked: ParkedMessages, queues: Sequence[str], arguments: argparse.Namespace) -> int:
    found = 0
    counts = await parked.queues()
    for queue in queues:
        for message in await parked.list(queue, MOST_SEARCHED if arguments.ids else MOST_SHOWN):
            if arguments.ids and message.id not in arguments.ids:
                continue
            found += 1
            print(f"{message.id}  {queue}  {message.type}  attempts {message.attempts}  since {message.first_seen}")
            print(f"    {message.reason}")
            if arguments.action == "show":
                print(f"    {message.body}")
    there = sum(counts.get(queue, 0) for queue in queues)
    print(f"{there} parked" if arguments.ids or found >= there else f"{there} parked, {found} of them shown")
    return 1 if arguments.ids and not found else 0
