"""What support and operators do on the command line: links of other issuers' subjects, and a look at deletions."""

import argparse
import sys
from collections.abc import Awaitable, Callable

from common.clock import wire_time
from common.db.uow import UnitOfWork
from common.errors import DomainError
from common.messaging.parking import Commands
from common.service import Service
from identity import queries
from identity.links import link_subject, unlink_subject
from identity.schemas import DeletionView, ReceiptView

MOST_SHOWN = 100


def add_commands(commands: Commands) -> None:
    """Adds ``link``, ``unlink``, ``links`` and ``deletions``; parsed arguments go to ``run_command``."""
    text = "make the subject of another issuer one of our users: its tokens then open that user's account"
    linking = _add(commands, "link", text, _link, "issuer", "subject")
    linking.add_argument("user", metavar="USER", help="the id of a user who has been here")
    _add(commands, "unlink", "end such a link: the subject is a user of its own again", _unlink, "issuer", "subject")
    _add(commands, "links", "show which subjects are linked to a user", _links).add_argument("user", metavar="USER")
    showing = _add(commands, "deletions", "show deletions of accounts with their receipts, newest first", _deletions)
    showing.add_argument("--open", action="store_true", help="only those that are not complete")


def _add(
    commands: Commands, name: str, text: str, run: Callable[..., Awaitable[int]], *subject: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    if subject:
        parser.add_argument("issuer", metavar="ISSUER", help="the exact `iss` of its tokens")
        parser.add_argument("subject", metavar="SUBJECT", help="the `sub` of its tokens")
    parser.set_defaults(support=run)
    return parser


async def run_command(service: Service, arguments: argparse.Namespace) -> int:
    """The exit code: 1 when it was refused, with the reason on standard error."""
    async with service.opened():
        try:
            async with service.database.transaction() as uow:
                return int(await arguments.support(uow, arguments))
        except DomainError as refusal:
            print(f"identity: {refusal.message}", file=sys.stderr)
            return 1


async def _link(uow: UnitOfWork, arguments: argparse.Namespace) -> int:
    new = await link_subject(uow, arguments.issuer, arguments.subject, arguments.user)
    print(f"{arguments.subject} of {arguments.issuer} is {'now' if new else 'already'} {arguments.user}")
    return 0


async def _unlink(uow: UnitOfWork, arguments: argparse.Namespace) -> int:
    user_id = await unlink_subject(uow, arguments.issuer, arguments.subject)
    print(f"{arguments.subject} of {arguments.issuer} is no longer {user_id}")
    return 0


async def _links(uow: UnitOfWork, arguments: argparse.Namespace) -> int:
    found = await queries.links(uow, arguments.user)
    for link in found:
        print(f"{link.subject} of {link.issuer}, since {wire_time(link.created_at)}")
    if not found:
        print(f"no subject is linked to {arguments.user}")
    return 0


async def _deletions(uow: UnitOfWork, arguments: argparse.Namespace) -> int:
    found = await queries.deletions(uow, MOST_SHOWN, only_open=arguments.open)
    for deletion in found:
        view = DeletionView.of(deletion, await queries.receipts(uow, deletion.id))
        print(f"{deletion.user_id}  {view.status}, requested {wire_time(deletion.requested_at)}")
        for receipt in view.receipts:
            print(f"  {_receipt(receipt)}")
    if not found:
        print("no deletion is open" if arguments.open else "no account was deleted")
    return 0


def _receipt(receipt: ReceiptView) -> str:
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(receipt.counts.items()))
    when = f" {wire_time(receipt.completed_at)}" if receipt.completed_at else ""
    trouble = f": {receipt.problem}, {receipt.attempts} attempts" if receipt.problem else ""
    again = f", again at {wire_time(receipt.next_attempt_at)}" if receipt.next_attempt_at else ""
    return f"{receipt.store:<10}  {receipt.status}{when}{trouble}{again}{f'  ({counts})' if counts else ''}"
