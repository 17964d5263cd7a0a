"""What no log of ours may hold, and a search of a deployment's logs for it."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, urlsplit

from billing.settings import BillingSettings
from common.settings import Settings
from gateway.settings import GatewaySettings
from identity.settings import IdentitySettings
from media.settings import MediaSettings
from tests.support.deployment import Deployment

CLASSES: tuple[type[Settings], ...] = (GatewaySettings, IdentitySettings, BillingSettings, MediaSettings)
SHAPES = {
    "token": re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}"),
    "authorization": re.compile(r"(?i)\b(?:bearer|basic) [\w.~+/=-]{8,}"),
    "signature": re.compile(r"(?i)(?:signature|policy|x-amz-credential)=[\w%~-]{8,}"),
    "address": re.compile(r"[\w.%+-]+@[\w-]+\.[a-z]{2,}\b"),
    "password": re.compile(r"\w+://[^\s/:@]+:[^\s/@*]+@"),
    "private key": re.compile(r"PRIVATE KEY"),
    "user": re.compile(r"\buser_2[A-Za-z0-9]{16,}"),
    "play grant": re.compile(r"/play/[\w=-]{20,}"),
}
"""What gives these away whoever they belong to."""


class Search:
    """Looks for the secrets a deployment was given, the tokens used there, ``words`` by kind, and SHAPES."""

    def __init__(self, deployment: Deployment, words: Mapping[str, Iterable[str]]) -> None:
        self._deployment = deployment
        self._words = {kind: set(values) for kind, values in words.items()}
        self._words["secret"] = set(secrets_in(deployment.environment))
        self._words["token"] = deployment.tokens | {token.rpartition(".")[2] for token in deployment.tokens}

    def lines(self) -> Iterator[tuple[str, str]]:
        """Every line of every process, with the process's name."""
        for name in self._deployment.processes:
            for line in self._deployment.log_of(name).read_text().splitlines():
                yield name, line

    def found(self) -> list[tuple[str, str, str]]:
        """Process, kind and line of everything that must not be there."""
        return [(name, kind, line) for name, line in self.lines() for kind in self.kinds_in(line)]

    def kinds_in(self, line: str) -> list[str]:
        """What a line gives away. It is read as it stands, and as a machine decodes it."""
        text = f"{line}\n{_decoded(line)}"
        known = [kind for kind, values in self._words.items() if any(_said(value, text) for value in values)]
        return [*known, *(kind for kind, shape in SHAPES.items() if shape.search(text))]


def _said(value: str, text: str) -> bool:
    return value in text or quote(value, safe="") in text


def _decoded(line: str) -> str:
    try:
        return str(json.loads(line))
    except ValueError:
        return ""


def secrets_in(environment: Mapping[str, str]) -> Iterator[str]:
    """Every secret setting's value, passwords out of addresses, and of keys the lines that are the key."""
    for name, value in environment.items():
        if password := urlsplit(value).password if "://" in value else None:
            yield password
        elif _is_secret(name):
            lines = [line for line in re.split(r"\n|\\n", value) if line and not line.startswith("---")]
            yield from lines


def _is_secret(name: str) -> bool:
    fields = {field: info for settings in CLASSES for field, info in settings.model_fields.items()}
    info = fields.get(name.lower()) or fields.get(name.partition("_")[2].lower())
    return info is not None and "Secret" in str(info.annotation)
