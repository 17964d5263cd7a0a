"""Where a file lies that the prototype's rows name: by a Windows path, a POSIX one, a URL, or the hash in its name.

Only two places are looked into: the folder that was given, and buckets reached with our own credentials. A path or an
address in a row is a hint to a name there, never something to open.
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

_ENDINGS = (".m4a", ".mp3", ".mp4", ".aac", ".wav")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_LONGEST_KEY = 1024
_VIRTUAL_HOST = re.compile(r"(?P<bucket>[a-z0-9][a-z0-9.-]+)\.s3[.-](?:(?P<region>[a-z0-9-]+)\.)?amazonaws\.com")
_PATH_STYLE = re.compile(r"s3[.-](?:(?P<region>[a-z0-9-]+)\.)?amazonaws\.com")


@dataclass(frozen=True, slots=True)
class S3Place:
    """An object. ``bucket`` None: the one we keep audio in, behind a CDN's address."""

    bucket: str | None
    region: str | None
    key: str


def s3_place(url: str) -> S3Place | None:
    """None for anything that is no address of an object."""
    place = _place(url)
    if place is None or not 0 < len(place.key.encode()) <= _LONGEST_KEY:
        return None
    named = place.bucket is None or (_BUCKET.fullmatch(place.bucket) and ".." not in place.bucket)
    return place if named else None


def _place(url: str) -> S3Place | None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return None
    key = unquote(parts.path).lstrip("/")
    if parts.scheme == "s3" and host:
        return S3Place(host, None, key)
    if parts.scheme not in ("http", "https") or not key:
        return None
    if found := _VIRTUAL_HOST.fullmatch(host):
        return S3Place(found["bucket"], found["region"], key)
    if found := _PATH_STYLE.fullmatch(host):
        bucket, _, rest = key.partition("/")
        return S3Place(bucket, found["region"], rest)
    return S3Place(None, None, key)


class AudioFolder:
    """The files under a folder, by name. Links are not followed, they could lead out of it; pipes are no files."""

    def __init__(self, root: Path) -> None:
        self._by_name: dict[str, list[Path]] = {}
        for folder, _, names in os.walk(root):
            for name in names:
                path = Path(folder, name)
                if stat.S_ISREG(path.lstat().st_mode):
                    self._by_name.setdefault(name.lower(), []).append(path)

    def find(self, reference: str, content_hash: str) -> Path | None:
        """The file under the name that is referred to, else under its hash; of several the one whose folders match."""
        parts = _parts(reference)
        for name in _names(parts, content_hash):
            if found := self._by_name.get(name.lower()):
                return max(sorted(found), key=lambda path: _in_common(path.parts, parts))
        return None


def _parts(reference: str) -> list[str]:
    if "://" in reference:
        try:
            reference = unquote(urlsplit(reference).path)
        except ValueError:
            return []
    return [part for part in re.split(r"[/\\]", reference) if part not in ("", ".", "..")]


def _names(parts: list[str], content_hash: str) -> Iterator[str]:
    if parts:
        yield parts[-1]
    yield from (content_hash + ending for ending in _ENDINGS)


def _in_common(path: tuple[str, ...], parts: list[str]) -> int:
    """How many names agree, from the end."""
    count = 0
    for one, other in zip(reversed(path), reversed(parts), strict=False):
        if one.lower() != other.lower():
            break
        count += 1
    return count
