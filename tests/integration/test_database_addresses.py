"""What a database URL asks for is what happens: through a pooler in transaction mode, and with TLS."""

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import asyncpg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from common.db.engine import Database
from common.messaging.outbox import Outbox
from common.settings import DatabaseSettings
from embedded.postgres import PrivatePostgres
from entrain.checks import CHECKS
from entrain.deployment import Deployment
from entrain.examination import Patience, examine
from tests.support.billing import settings as billing_settings
from tests.support.pgbouncer import SESSIONS, PrivatePgBouncer
from tests.support.servers import run

pytestmark = pytest.mark.direct("each test chooses its way, with a pooler or without")
CLIENTS = 4 * SESSIONS


async def many_transactions(settings: DatabaseSettings) -> set[int]:
    """Transactions of two processes, more at once than the server gives sessions; the sessions they were given."""
    processes = [Database.of(settings, Outbox("none")) for _ in range(2)]

    async def some(database: Database) -> set[int]:
        seen = set()
        for number in range(10):
            async with database.transaction() as uow:
                asked = text("SELECT pg_backend_pid(), CAST(:number AS int)")
                seen.add((await uow.session.execute(asked, {"number": number})).one()[0])
        return seen

    try:
        return set().union(*await asyncio.gather(*(some(processes[n % 2]) for n in range(CLIENTS))))
    finally:
        for database in processes:
            await database.close()


async def test_sessions_are_shared_through_a_pooler_and_nothing_minds(
    pgbouncer: PrivatePgBouncer, database_url: str
) -> None:
    settings = DatabaseSettings(**pgbouncer.way_to(database_url))
    assert 1 <= len(await many_transactions(settings)) <= SESSIONS


async def test_without_the_setting_statements_are_looked_for_in_sessions_of_others(
    pgbouncer: PrivatePgBouncer, database_url: str
) -> None:
    with pytest.raises(DBAPIError, match=r"prepared statement .* (does not exist|already exists)"):
        await many_transactions(DatabaseSettings(database_url=pgbouncer.url(database_url)))


async def test_the_doctor_leaves_nothing_in_a_session_of_the_pooler(
    pgbouncer: PrivatePgBouncer, database_url: str
) -> None:
    """The next doctor would be given that session, and prepare a statement of the same name."""
    settings = billing_settings(**pgbouncer.way_to(database_url))
    looks = [check for check in CHECKS if check.name == "database.billing"]
    [finding] = await examine(Deployment({"billing": settings}, {}), looks, Patience(), lambda _: None)
    assert finding.outcome.verdict == "ok"
    database = Database.of(settings, Outbox("none"))
    async with database.transaction() as uow:
        assert (await uow.session.execute(text("SELECT name, statement FROM pg_prepared_statements"))).all() == []
    await database.close()


@dataclass(frozen=True)
class Authorities:
    """Files: the one that vouches for the server, and another."""

    own: Path
    other: Path


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """One for 127.0.0.1 that vouches for itself, and its key."""
    key, named = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]),
    )
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / f"{name}.pem", folder / f"{name}.key"
    files[0].write_bytes(made.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authorities(place: Path) -> Authorities:
    return Authorities(certificate(place, "own")[0], certificate(place, "other")[0])


@pytest.fixture(scope="module")
def demanding(postgres: PrivatePostgres, place: Path, authorities: Authorities) -> Iterator[PrivatePgBouncer]:
    """A server that speaks to nobody without TLS."""
    server = PrivatePgBouncer()
    run(server.start(place, postgres, tls=(authorities.own, authorities.own.with_suffix(".key"))))
    yield server
    run(server.stop())


async def reached(url: str) -> bool:
    """Through the pool, and as relay and migrations go."""
    settings = DatabaseSettings(database_url=url, database_direct_url=url, database_pooler="transaction")
    database = Database.of(settings, Outbox("none"))
    try:
        async with database.transaction() as uow:
            found = (await uow.session.execute(text("SELECT 1"))).scalar_one()
        direct = await asyncpg.connect(database.direct_url, statement_cache_size=0)
        await direct.close()
        return bool(found)
    finally:
        await database.close()


@pytest.mark.parametrize("query", ["sslmode=require", "sslmode=verify-ca&sslrootcert={own}",
                                   "sslmode=verify-full&sslrootcert={own}", "sslmode=prefer", ""])  # fmt: skip
async def test_tls_is_spoken(
    query: str, demanding: PrivatePgBouncer, database_url: str, authorities: Authorities
) -> None:
    assert await reached(f"{demanding.url(database_url)}?{query.format(own=authorities.own)}".rstrip("?"))


async def test_without_tls_there_is_no_way_in(demanding: PrivatePgBouncer, database_url: str) -> None:
    with pytest.raises((asyncpg.PostgresError, DBAPIError), match=r"TLS|SSL"):
        await reached(f"{demanding.url(database_url)}?sslmode=disable")


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full", "require"])
async def test_a_server_that_nobody_trusted_vouches_for_is_refused(
    mode: str, demanding: PrivatePgBouncer, database_url: str, authorities: Authorities
) -> None:
    """Also where only `require` is asked for, if an authority is named: so do PostgreSQL's own programs."""
    with pytest.raises(ssl.SSLCertVerificationError):
        await reached(f"{demanding.url(database_url)}?sslmode={mode}&sslrootcert={authorities.other}")


@pytest.mark.parametrize("mode, allowed", [("verify-full", False), ("verify-ca", True)])
async def test_only_verify_full_asks_whether_it_is_the_server_that_was_meant(
    mode: str, allowed: bool, demanding: PrivatePgBouncer, database_url: str, authorities: Authorities
) -> None:
    url = demanding.url(database_url).replace("@127.0.0.1:", "@localhost:")
    meant = f"{url}?sslmode={mode}&sslrootcert={authorities.own}"
    if allowed:
        assert await reached(meant)
    else:
        with pytest.raises(ssl.SSLCertVerificationError):
            await reached(meant)


async def test_a_server_without_tls_is_refused_where_it_is_required(
    pgbouncer: PrivatePgBouncer, database_url: str
) -> None:
    with pytest.raises(ConnectionError, match="SSL"):
        await reached(f"{pgbouncer.url(database_url)}?sslmode=require")
