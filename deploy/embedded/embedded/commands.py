"""The commands beside the run itself: play a user, a store, a provider on a bad day, against the running product."""

import argparse
import base64
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

from common.messaging.parking import add_parked, manage_parked
from embedded.local_server import LOOPBACK
from embedded.running_product import ControlRefused, NotRunning, call_control
from embedded.session_tokens import user_id_of

DEFAULT_PORT = 8787
LEAVING_SECONDS = 600
DEFAULT_DATA = Path("./.data")
CLERK_ACTIONS = ("sign-up", "change-email", "delete", "sign-out")
STORE_ACTIONS = {
    "purchase": "buy a product; of one that has run out, the next period",
    "renew": "the next period, also after a failed charge, a refund or a pause",
    "cancel": "turn renewal off",
    "uncancel": "turn renewal on again",
    "refund": "money back, access ends",
    "reverse-refund": "the store takes the refund back",
    "expire": "the subscription ends now",
    "billing-issue": "a charge fails now; --days of grace follow (16), 0 for none",
    "decline": "every charge will fail; --days of grace follow (none)",
    "change-product": "to --product, now or --deferred to the next period",
    "pause": "from the end of the period on, until --days from now (60); Google Play only",
    "extend": "the period ends --days later (7)",
    "grant": "a promotional grant, for --days (a month)",
    "revoke-grants": "take promotional grants back",
    "grant-unconfirmed": "a day's access, because the store cannot confirm the purchase yet",
    "confirm": "the store confirms it",
    "log-in": "make an anonymous id and OTHER the same customer; no webhook tells of it",
    "transfer": "everything bought becomes OTHER's",
    "pass-time": "do what the store does by itself up to now: renew, charge, end, resume",
    "retry": "send what waits for another attempt, now",
}
TO_ANOTHER = ("transfer", "log-in")
USER_HELP = "a Clerk id (user_2abc), or a bare name: ada means user_ada; it need not exist yet"

_STORE_EPILOG = "\n".join(
    (
        "actions:",
        *(f"  {action:<18} {what}" for action, what in STORE_ACTIONS.items()),
        "",
        "Any product id can be bought. Words in it decide what it is: lifetime, credits (unlocks nothing), annual or",
        "year, week; otherwise it lasts a month. An id with a colon is bought on Google Play.",
    )
)

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_commands(subparsers: Subparsers) -> None:
    """Adds the commands named in the module's functions; parsed arguments go to ``run_command``."""
    _add_token(subparsers)
    _add_clerk(subparsers)
    _add_leave(subparsers)
    _add_store(subparsers)
    _add_webhook(subparsers)
    _add_fault(subparsers)
    _add_place(add_parked(subparsers), _parked)


async def run_command(args: argparse.Namespace) -> int:
    """Runs the command that ``args`` came from; the process's exit code. Problems go to standard error in one line."""
    command: Callable[[argparse.Namespace], Awaitable[int]] = args.run
    try:
        return await command(args)
    except (NotRunning, ControlRefused, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1


def _add_token(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "token",
        help="print a session token for a user",
        description="Prints a session token signed by the running product's identity provider. Who is new signs up.",
    )
    parser.add_argument("user_id", metavar="USER_ID", help=f"{USER_HELP}. With --issuer supabase a UUID")
    parser.add_argument("--seconds", type=int, help="how long it is valid: 60 by default, 3600 from supabase")
    parser.add_argument("--issuer", choices=("clerk", "supabase"), default="clerk")
    _add_place(parser, _token)


def _add_clerk(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "clerk",
        help="sign up, change the address, delete, sign out … at the identity provider",
        description="Changes a user at the identity provider, sends the signed webhooks, prints how each fared.",
    )
    parser.add_argument("action", choices=CLERK_ACTIONS, help="sign-out ends every session a token was printed for")
    parser.add_argument("user_id", metavar="USER_ID", help=USER_HELP)
    parser.add_argument("email", metavar="EMAIL", nargs="?", help="change-email: the new one; sign-up: ada@example.com")
    parser.set_defaults(complain=parser.error)
    _add_place(parser, _clerk)


def _add_leave(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "leave",
        help="play a whole life up to the deletion of the account, and print its receipts",
        description="Signs up, buys pro, writes a session, exports everything, deletes the account and prints each "
        "store's receipt. The user must be new.",
    )
    parser.add_argument("user_id", metavar="USER_ID", help=USER_HELP)
    _add_place(parser, _leave)


def _add_store(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "store",
        help="buy, cancel, refund … in the store, and send the signed webhook",
        description="Changes what a user has bought, sends the signed webhooks, prints how they were received.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_STORE_EPILOG,
    )
    parser.add_argument("action", choices=STORE_ACTIONS, metavar="ACTION", help="one of those below")
    parser.add_argument("user_id", metavar="USER_ID", nargs="?", help=USER_HELP)
    parser.add_argument("other_id", metavar="OTHER", nargs="?", help=f"{', '.join(TO_ANOTHER)}: who gets the purchases")
    parser.add_argument("--product", metavar="ID", help="entrain_pro_monthly, or what was bought last")
    parser.add_argument("--days", type=float, metavar="N", help="how long, as the action says")
    parser.add_argument("--trial-days", type=float, metavar="N", help="purchase: start with a free trial")
    parser.add_argument("--sandbox", action="store_true", help="purchase: in the store's sandbox")
    parser.add_argument("--family-share", action="store_true", help="purchase: somebody of the family bought it")
    parser.add_argument("--deferred", action="store_true", help="change-product: at the end of the period")
    parser.set_defaults(complain=parser.error)
    _add_place(parser, _store)


def _add_webhook(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "webhook",
        help="send a file as a RevenueCat webhook, signed",
        description="Sends the file's bytes as they are, signed, once. Prints the status; exit code 0 for 200.",
    )
    parser.add_argument("file", type=Path, metavar="FILE.json")
    _add_place(parser, _webhook)


def _add_fault(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "fault",
        help="let an outside provider fail",
        description="Lets the next requests to an outside provider fail.",
        epilog="Kinds: unavailable, error, rate_limited, slow, html, empty, redirect, cut, clear; clerk also "
        "many_keys, store also stale. For webhooks: lose, twice, delay, reverse.",
    )
    parser.add_argument("part", choices=("clerk", "store", "edge", "webhooks"))
    parser.add_argument("kind", metavar="KIND")
    parser.add_argument("--times", type=int, default=1, help="-1: until cleared")
    parser.add_argument("--where", default="", help="only requests whose path contains this")
    _add_place(parser, _fault)


def _add_place(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], Awaitable[int]]) -> None:
    # Suppressed defaults: given before the command, the same options must not be reset by the command's own parser.
    parser.add_argument("--port", type=int, default=argparse.SUPPRESS, help=f"of the running product ({DEFAULT_PORT})")
    parser.add_argument("--data", type=Path, default=argparse.SUPPRESS, help=f"its data folder ({DEFAULT_DATA})")
    parser.set_defaults(run=run)


async def _call(args: argparse.Namespace, path: str, body: dict[str, Any]) -> dict[str, Any]:
    data = Path(getattr(args, "data", None) or DEFAULT_DATA)
    return await call_control(data, getattr(args, "port", None) or DEFAULT_PORT, path, body)


async def _token(args: argparse.Namespace) -> int:
    user_id = user_id_of(args.user_id) if args.issuer == "clerk" else args.user_id
    body = {"userId": user_id, "seconds": args.seconds, "issuer": args.issuer}
    print((await _call(args, "/token", body))["token"])
    return 0


async def _clerk(args: argparse.Namespace) -> int:
    if args.action == "change-email" and not args.email:
        args.complain("clerk change-email needs USER_ID and EMAIL")
    body = {"userId": user_id_of(args.user_id), "email": args.email}
    answer = await _call(args, f"/clerk/{args.action}", body)
    for delivery in answer["deliveries"]:
        print(_told(delivery))
    return 0


async def _leave(args: argparse.Namespace) -> int:
    # imported here: the other commands need nothing of what listens to audio, and answer at once
    from embedded.journey import JourneyFailed
    from embedded.leaving import Leaving

    user_id = user_id_of(args.user_id)
    token = (await _call(args, "/token", {"userId": user_id, "seconds": LEAVING_SECONDS}))["token"]
    port = getattr(args, "port", None) or DEFAULT_PORT
    try:
        await Leaving(f"http://{LOOPBACK}:{port}", _Person(args, token), tell=print).leave(user_id)
    except JourneyFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


class _Person:
    """Acts outside through the control API of the running product."""

    def __init__(self, args: argparse.Namespace, token: str) -> None:
        self._args = args
        self._token = token

    def token(self, user_id: str) -> str:
        return self._token

    async def purchase(self, user_id: str) -> None:
        await _call(self._args, "/store/purchase", {"userId": user_id})

    async def refund(self, user_id: str) -> None:
        await _call(self._args, "/store/refund", {"userId": user_id})


async def _store(args: argparse.Namespace) -> int:
    if args.action != "retry" and not args.user_id:
        args.complain(f"store {args.action} needs a USER_ID")
    if (args.action in TO_ANOTHER) != bool(args.other_id):
        args.complain(f"store {' and '.join(TO_ANOTHER)} need USER_ID and OTHER, the other actions take one USER_ID")
    if args.action == "change-product" and not args.product:
        args.complain("store change-product needs --product")
    body = {
        "userId": user_id_of(args.user_id or ""),
        "otherId": user_id_of(args.other_id or ""),
        "productId": args.product,
        "trialDays": args.trial_days,
        "sandbox": args.sandbox,
        "familyShare": args.family_share,
        "deferred": args.deferred,
        "days": args.days,
    }
    answer = await _call(args, f"/store/{args.action}", body)
    for delivery in answer["deliveries"]:
        print(_told(delivery))
    return 0


async def _webhook(args: argparse.Namespace) -> int:
    body = base64.b64encode(args.file.read_bytes()).decode()
    delivery = await _call(args, "/webhook", {"body": body})
    print(_told(delivery))
    return 0 if delivery["accepted"] else 1


async def _fault(args: argparse.Namespace) -> int:
    await _call(args, "/fault", {"part": args.part, "kind": args.kind, "times": args.times, "where": args.where})
    return 0


async def _parked(args: argparse.Namespace) -> int:
    bus_url = (await _call(args, "/bus", {}))["url"]
    # imported here: the other commands need no database driver and answer at once
    from common.messaging.postgres import PostgresBus, PostgresParked

    async with PostgresBus(bus_url) as bus:
        parked = PostgresParked(bus)
        return await manage_parked(parked, list(await parked.queues()), args)


def _told(delivery: dict[str, Any]) -> str:
    result = delivery["status"] or delivery["problem"]
    again = f", next attempt at {delivery['nextAttemptAt']}" if delivery["nextAttemptAt"] else ""
    return f"{delivery['type']} {delivery['id']}: {result}{again}"
