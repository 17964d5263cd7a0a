"""A command line called in this process: a process of its own takes seconds to start."""

import asyncio
import io
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass


@dataclass(frozen=True)
class Ended:
    returncode: int
    stdout: str
    stderr: str


async def called(main: Callable[[], int], program: str, *arguments: object, **variables: str) -> Ended:
    """Calls a command line's own main function with these arguments and additional environment variables."""
    return await asyncio.to_thread(_call, main, [program, *map(str, arguments)], variables)


def _call(main: Callable[[], int], arguments: list[str], variables: Mapping[str, str]) -> Ended:
    before, told, said = dict(os.environ), sys.argv, (io.StringIO(), io.StringIO())
    os.environ.update(variables)
    time.tzset()
    sys.argv = arguments
    try:
        with redirect_stdout(said[0]), redirect_stderr(said[1]):
            code = main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv = told
        os.environ.clear()
        os.environ.update(before)
        time.tzset()
    return Ended(code, said[0].getvalue(), said[1].getvalue())
