"""Reads customers and makes the readings true: claim in one transaction, read in none, keep in another."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta

from billing import commands, queries, work
from billing.causes import RECONCILE, SYNC, Cause
from billing.commands import AskedTooOften, ClaimedByAnother, Outcome, Reading
from billing.entitlement import Rules
from billing.models import tombstones
from billing.notice import is_anonymous
from billing.revenuecat import IdRefused, ReadingFailed, SubscriberSource
from billing.work import LeaseLost, Work
from common.db.engine import Database, is_outage
from common.db.tombstones import UserErased
from common.db.wakeup import WakeUp
from common.observability import logger
from common.tracing import job

SLOTS = 8
"""Readings at once in one process."""
READING_SECONDS = 45.0
"""For all customers of one user; shorter than the lease."""
FINISH_SECONDS = 10.0
POLL_SECONDS = 1.0
SYNC_SECONDS = 1.8
SYNC_PAUSE = timedelta(seconds=2)
"""A user's second request within this gets what the first one read."""
LOOK_AGAIN = timedelta(minutes=2)
"""A user who asks has a reason: where nothing was found, the API may not know yet what they bought."""
log = logger("refreshing")


class Refresher:
    """``work_off`` for workers, ``sync`` for a user who waits."""

    def __init__(self, database: Database, source: SubscriberSource, rules: Rules, *, slots: int = SLOTS) -> None:
        self._database = database
        self._source = source
        self._rules = rules
        self._slots = slots

    async def work_off(self) -> int:
        """Makes every reading that is due; returns how many were taken up."""
        taken, full = 0, True
        while full:
            claims = await self.claim(self._slots)
            await asyncio.gather(*(self.make(claim) for claim in claims))
            taken, full = taken + len(claims), len(claims) == self._slots
        return taken

    async def run(self, wake: WakeUp) -> None:
        """Makes readings as they become due, for ever; looks for them when woken and every POLL_SECONDS.

        Cancelled, it finishes those in hand for a while; the leases of the others run out.
        """
        in_hand: set[asyncio.Task[None]] = set()
        try:
            while True:
                room = self._slots - len(in_hand)
                claims = await self.claim(room) if room else []
                for claim in claims:
                    task = asyncio.create_task(self._make_or_report(claim))
                    in_hand.add(task)
                    task.add_done_callback(lambda _: wake.ring())
                if not claims:
                    await wake.wait(POLL_SECONDS)
                in_hand = {task for task in in_hand if not task.done()}
        finally:
            if in_hand:
                await asyncio.wait(in_hand, timeout=FINISH_SECONDS)
            for task in in_hand:
                task.cancel()

    async def claim(self, limit: int) -> list[Work]:
        async with self._database.transaction() as uow:
            return list(await work.claim_readings(uow, limit))

    async def make(self, claim: Work) -> None:
        """Makes one claimed reading and settles, repeats, postpones or drops the work."""
        told = {"user_id": claim.user_id, "event_id": claim.cause.event_id}
        with job("read subscriber", claim.traceparent, claim.correlation_id, **told) as step:
            step.note("entrain.cause", claim.cause.kind)
            await self._make(claim)

    async def _make(self, claim: Work) -> None:
        try:
            await self._read_and_settle(claim)
        except LeaseLost:
            log.info("lease_lost", user_id=claim.user_id)
        except UserErased:
            log.info("user_erased_meanwhile")
            async with self._database.transaction() as uow:
                await work.forget(uow, claim.user_id)

    async def _read_and_settle(self, claim: Work) -> None:
        if claim.erased:
            raise UserErased  # reading would make the customer anew
        try:
            readings = await self._read_all(claim.user_id, claim.ids, READING_SECONDS)
        except ReadingFailed as error:
            log.warning("reading_failed", user_id=claim.user_id, problem=str(error), attempts=claim.attempts)
            await self._postpone(claim, error.retry_after)
        else:
            await self._finish(claim, readings)

    async def sync(self, user_id: str) -> bool:
        """Reads the user now, within SYNC_SECONDS; False when only what was known before can be told.

        A reading that fails is left to the workers. Who asks too often has nothing read. Raises UserErased.
        """
        async with self._database.transaction() as uow:
            await tombstones.refuse(uow, user_id)
            last = await queries.last_reading_at(uow, user_id)
            if last is not None and last > uow.now - SYNC_PAUSE:
                return True
            if not await commands.take_sync_turn(uow, user_id):
                log.info("sync_too_often", user_id=user_id)
                return False
        return await self._read_now(user_id, SYNC)

    async def reconcile(self, user_id: str) -> bool:
        """As ``sync``, but whoever asked first and however long it takes. Raises UserErased."""
        return await self._read_now(user_id, RECONCILE, seconds=READING_SECONDS)

    async def claim_anonymous(self, user_id: str, anonymous_id: str) -> bool:
        """Gives the user what was bought under an anonymous id, then as ``sync``.

        Raises ClaimedByAnother, TooManyClaims, AskedTooOften or UserErased.
        """
        async with self._database.transaction() as uow:
            if not await commands.take_sync_turn(uow, user_id):
                raise AskedTooOften
            cause = await commands.claim_anonymous(uow, user_id, anonymous_id)
        return await (self._read_now(user_id, SYNC) if cause is None else self._read_now(user_id, cause, strict=True))

    async def _read_now(
        self, user_id: str, cause: Cause, *, seconds: float = SYNC_SECONDS, strict: bool = False
    ) -> bool:
        async with self._database.transaction() as uow:
            await tombstones.refuse(uow, user_id)  # reading would make the customer anew
            ids = await queries.ids_to_read(uow, user_id)
        try:
            readings = await self._read_all(user_id, ids, seconds, strict=strict)
        except ReadingFailed as error:
            log.warning("not_read_at_once", user_id=user_id, problem=str(error))
            async with self._database.transaction() as uow:
                await tombstones.refuse(uow, user_id)
                await commands.honour_unread(uow, self._rules, user_id)
                await work.ask_to_read(uow, [user_id], cause)
            return False
        return (await self._keep(user_id, readings, cause)).again_at is None

    async def _make_or_report(self, claim: Work) -> None:
        """The lease brings the work back, whatever went wrong."""
        try:
            await self.make(claim)
        except Exception as error:
            if is_outage(error):
                log.warning("reading_not_kept", user_id=claim.user_id, error=type(error).__name__)
            else:
                log.error("reading_not_kept", user_id=claim.user_id, exc_info=error)

    async def _read_all(
        self, user_id: str, ids: Sequence[str], seconds: float, *, strict: bool = False
    ) -> dict[str, Reading]:
        """Every customer that is the user's; with ``strict`` a claim that is not theirs raises ClaimedByAnother."""
        readings: dict[str, Reading] = {}
        try:
            async with asyncio.timeout(seconds):
                for one in ids:
                    if reading := await self._read_if_taken(one):
                        readings[one] = reading
        except TimeoutError:
            raise ReadingFailed(f"not read within {seconds} s") from None
        foreign = [one for one, reading in readings.items() if _belongs_to_another(one, reading, user_id)]
        for one in foreign:
            del readings[one]
            await self._give_up_claim(user_id, one)
        if foreign and strict:
            raise ClaimedByAnother
        return readings

    async def _read_if_taken(self, app_user_id: str) -> Reading | None:
        """None where the API will never take the id: nothing can have been bought under it."""
        try:
            return await self._source.read(app_user_id)
        except IdRefused as error:
            log.warning("customer_cannot_be_read", app_user_id=app_user_id, problem=str(error))
            return None

    async def _give_up_claim(self, user_id: str, anonymous_id: str) -> None:
        log.warning("claim_given_up", user_id=user_id, anonymous_id=anonymous_id)
        async with self._database.transaction() as uow:
            await commands.give_up_claim(uow, self._rules, user_id, anonymous_id)

    async def _keep(self, user_id: str, readings: Mapping[str, Reading], cause: Cause) -> Outcome:
        """Outside any claimed work: what follows is left to the workers."""
        async with self._database.transaction() as uow:
            outcome = await commands.take_readings(uow, self._rules, user_id, readings, cause, 0)
            planned = outcome.again_at or outcome.next_at
            if cause is SYNC and not (planned or outcome.pro):
                planned = uow.now + LOOK_AGAIN
            if planned:
                await work.plan_reading(uow, user_id, planned, outcome.rank)
        return outcome

    async def _postpone(self, claim: Work, retry_after: float | None) -> None:
        async with self._database.transaction() as uow:
            await commands.honour_unread(uow, self._rules, claim.user_id)
            await work.postpone(uow, claim, retry_after)

    async def _finish(self, claim: Work, readings: Mapping[str, Reading]) -> None:
        async with self._database.transaction() as uow:
            outcome = await commands.take_readings(
                uow, self._rules, claim.user_id, readings, claim.cause, claim.readings_again
            )
            if outcome.again_at:
                await work.read_again(uow, claim, outcome.again_at)
            else:
                await work.settle(uow, claim, outcome.next_at, outcome.rank)


def _belongs_to_another(app_user_id: str, reading: Reading, user_id: str) -> bool:
    """Whether a claimed anonymous id is, by the provider's word, a customer with an account of their own."""
    original = reading.snapshot.original_app_user_id
    return is_anonymous(app_user_id) and original is not None and not is_anonymous(original) and original != user_id
