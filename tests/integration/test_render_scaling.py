"""The query by which KEDA counts render jobs, against media's own tables."""

from datetime import UTC, datetime, timedelta

from media.models import Job
from tests.support.kubernetes import of_kind
from tests.support.media import media, settings


async def test_jobs_that_are_rendered_or_could_be_are_counted(database_url: str) -> None:
    (scaled,) = of_kind("production", "ScaledObject").values()
    query = scaled["spec"]["triggers"][0]["metadata"]["query"]
    now = datetime.now(UTC)
    soon, before = now + timedelta(hours=1), now - timedelta(hours=1)
    jobs = [("pending", before), ("pending", soon), ("processing", soon), ("completed", before), ("failed", before)]
    async with media(settings(database_url)) as [running]:
        assert await running.rows(query) == [{"count": 0}]
        for number, (status, available_at) in enumerate(jobs):
            session_id = await running.session("user_1", audio=False)
            async with running.service.database.transaction() as uow:
                uow.session.add(
                    Job(id=str(number), session_id=session_id, lines_hash="", status=status, available_at=available_at,
                        turn_at=now, created_at=now, updated_at=now)
                )  # fmt: skip

        assert await running.rows(query) == [{"count": 2}]
