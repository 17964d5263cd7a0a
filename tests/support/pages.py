"""Pages of docs that a command writes from what it has seen."""

import argparse
import asyncio
import re
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path


def write_sections(description: str | None, page: str, seen: Callable[[Path], Awaitable[Mapping[str, str]]]) -> None:
    """A command with one option, ``--page``: replaces the sections that ``seen``, given a folder, returns."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, default=Path(page), help="default: %(default)s")
    file: Path = parser.parse_args().page

    async def sections(folder: str) -> Mapping[str, str]:
        return await seen(Path(folder))

    with tempfile.TemporaryDirectory() as folder:
        text = file.read_text()
        for title, body in asyncio.run(sections(folder)).items():
            text = with_section(text, title, body)
    file.write_text(text)


def with_section(page: str, title: str, body: str) -> str:
    """The page with a section of this title replaced or, when there is none, added."""
    section = f"## {title}\n\n{body.strip()}\n"
    found = re.search(rf"^## {title}\n.*?(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    if found is None:
        return f"{page.rstrip()}\n\n{section}"
    rest = page[found.end() :]
    return page[: found.start()] + section + (f"\n{rest}" if rest else "")
