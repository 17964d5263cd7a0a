"""Runs checks side by side, each within its time and all within theirs."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from entrain.deployment import Deployment, NotConfigured
from entrain.findings import Check, Finding, Outcome, fail, said, skip

AT_ONCE = 12
TELL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds for one check and for all of them."""

    each: float = 10.0
    all: float = 45.0


async def examine(
    deployment: Deployment, checks: Sequence[Check], patience: Patience, tell: Callable[[str], object]
) -> list[Finding]:
    """A finding for each check, in the order given; ``tell`` hears once a second what is still waited for."""
    turns = asyncio.Semaphore(AT_ONCE)
    tasks = {check.name: asyncio.create_task(_look(deployment, check, patience.each, turns)) for check in checks}
    telling = asyncio.create_task(_tell_what_is_open(tasks, tell))
    try:
        if tasks:
            await asyncio.wait(tasks.values(), timeout=patience.all)
    finally:
        for task in (telling, *tasks.values()):
            task.cancel()
        await asyncio.gather(telling, *tasks.values(), return_exceptions=True)
    return [Finding(name, _shown(deployment, _outcome(task, patience.all))) for name, task in tasks.items()]


async def _look(deployment: Deployment, check: Check, seconds: float, turns: asyncio.Semaphore) -> Outcome:
    async with turns:
        try:
            async with asyncio.timeout(seconds):
                return await check.run(deployment)
        except NotConfigured as error:
            return skip(str(error))
        except TimeoutError:
            return fail(f"no answer within {seconds:g} s", "see whether the address is right and a firewall lets it in")
        except Exception as error:  # one check's own trouble must not hide what the others found
            return fail(f"could not be examined: {said(error)}", "put right what it says, then look again")


def _outcome(task: "asyncio.Task[Outcome]", seconds: float) -> Outcome:
    if task.cancelled():
        return fail(f"not examined within {seconds:g} s", "look again with --only, or allow more with --within")
    return task.result()


def _shown(deployment: Deployment, outcome: Outcome) -> Outcome:
    hide = deployment.without_secrets
    return Outcome(outcome.verdict, hide(outcome.seen), hide(outcome.advice))


async def _tell_what_is_open(tasks: dict[str, "asyncio.Task[Outcome]"], tell: Callable[[str], object]) -> None:
    while True:
        await asyncio.sleep(TELL_SECONDS)
        waiting = [name for name, task in tasks.items() if not task.done()]
        tell(f"{len(tasks) - len(waiting)} of {len(tasks)} done, waiting for {', '.join(waiting[:4])}")


def chosen(checks: Iterable[Check], only: Sequence[str], without: Sequence[str], *, write: bool) -> list[Check]:
    """Those named, or within a group that is named (``database`` for ``database.media``)."""
    return [
        check
        for check in checks
        if (write or not check.writes)
        and (not only or any(_is_in(check.name, name) for name in only))
        and not any(_is_in(check.name, name) for name in without)
    ]


def unknown(checks: Iterable[Check], names: Iterable[str]) -> list[str]:
    """The names that are of no check and no group."""
    known = [check.name for check in checks]
    return [name for name in names if not any(_is_in(each, name) for each in known)]


def _is_in(name: str, group: str) -> bool:
    return name == group or name.startswith(f"{group}.")
