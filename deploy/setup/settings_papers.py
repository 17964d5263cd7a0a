"""`.env.example` and `docs/settings.md`, from the descriptions in the settings classes."""

import re
import textwrap
from itertools import groupby

from described_settings import OTHERS, Variable, variables

_WIDTH = 118
_HEAD = """\
# Every setting of every process, made by `make contracts` from the settings classes. A line that begins with a name
# must be given a value; a line behind a `#` shows the default, or an example where there is none. Before a name,
# IDENTITY_, BILLING_, MEDIA_ or GATEWAY_ overrides it for that service (MEDIA_DATABASE_URL). They come from the
# environment.
# A file `.env` with these lines is read too, but only where the environment says ENTRAIN_ENV=development.
# A process prints what is wrong with its set and exits 78.
# A PEM may stand on one line: "-----BEGIN …-----\\nMIG…\\n-----END …-----\\n", with \\n for each line break.
"""
_INTRODUCTION = """\
# Settings

Made by `make contracts` from the settings classes; [.env.example](../.env.example) holds the same as a file to fill in.

- Every process of a service reads the service's whole set once, when it starts: `api`, `worker` and each command beside
  them. With a bad set it says what is wrong, never with a value, and exits 78.
- `IDENTITY_`, `BILLING_`, `MEDIA_` or `GATEWAY_` before a name overrides it for that service: `MEDIA_DATABASE_URL`.
  An empty variable is an absent one.
- Without one that must be given the process does not start. For one that has no default the meaning says what is so
  without it.
- A secret is never logged or printed. Lists are comma separated; a list of secrets holds the old one and the new one
  while rotating.
"""
_TABLE = """\
| variable | type and range | default | meaning |
|---|---|---|---|"""
_VARIABLE = re.compile(r"(?<![`\w/<{])(?:[A-Z][A-Z0-9]*_[A-Z0-9_]+)(?:=\w+)?")


def env_example() -> str:
    lines = _HEAD.splitlines()
    for readers, group in _groups():
        lines += ["", f"# == {' '.join(readers)} =="]
        for variable in group:
            shown = f"{variable.name}=" if variable.demanded else f"# {variable.name}={variable.example}"
            limits = f"; {variable.readings[0].limits}" if variable.readings[0].limits else ""
            lines += ["", *_commented(variable.meaning + limits), shown]
    return "\n".join(lines) + "\n"


def settings_paper() -> str:
    parts = [_INTRODUCTION]
    for readers, group in _groups():
        parts.append(f"## {', '.join(readers)}\n\n{_TABLE}\n" + "".join(_row(variable) for variable in group))
    others = "".join(f"| `{name}` | {_marked(meaning)} |\n" for name, meaning in OTHERS.items())
    parts.append(f"## Beside the services\n\n| variable | read by |\n|---|---|\n{others}")
    parts.append("Passwords of the stores that compose runs: [compose.env.example](../deploy/compose.env.example).\n")
    return "\n".join(parts)


def _groups() -> list[tuple[tuple[str, ...], list[Variable]]]:
    return [(readers, list(group)) for readers, group in groupby(variables(), key=lambda variable: variable.readers)]


def _commented(text: str) -> list[str]:
    wrapped = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [f"# {line}" for line in wrapped]


def _row(variable: Variable) -> str:
    default = "**must be given**" if variable.demanded else f"`{variable.default}`" if variable.default else "none"
    kind = variable.readings[-1].kind.replace("|", r"\|")
    return f"| `{variable.name}` | {kind} | {default} | {_marked(variable.meaning)} |\n"


def _marked(text: str) -> str:
    """The names of variables as code, and angle brackets as they are."""
    return _VARIABLE.sub(lambda found: f"`{found[0]}`", text).replace("<", "&lt;")
