"""The settings of this run as a file, so that an operator's commands can be tried beside it.

``<data>/run.env`` (0600) has a line ``NAME='value'`` for each setting a service was given, under the name that is that
service's alone.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, SecretStr

from common.settings import Settings
from embedded.kept_files import write_private

SETTINGS_FILE = "run.env"


def record_settings(data_dir: Path, settings: Iterable[Settings], **more: str) -> None:
    """``more``: variables of commands that belong to no service."""
    given = [pair for each in settings for pair in _given(each)]
    lines = [f"{name}={_quoted(value)}\n" for name, value in (*given, *more.items())]
    write_private(data_dir / SETTINGS_FILE, "".join(lines).encode())


def forget_settings(data_dir: Path) -> None:
    (data_dir / SETTINGS_FILE).unlink(missing_ok=True)


def _given(settings: Settings) -> Iterator[tuple[str, str]]:
    for field in sorted(settings.model_fields_set):
        value = getattr(settings, field)
        names = type(settings).model_fields[field].validation_alias
        if value is not None and isinstance(names, AliasChoices):
            yield str(names.choices[0]), _written(value)


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(_written(one) for one in value)
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value).lower() if isinstance(value, bool) else str(value)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
