"""Lives of `teal`, each a process of its own that can be killed, and each born in no time.

Starting Python takes long because of what is imported. A mother process does that once and forks for each life:
a test that ends fifty of them can afford it. `python -m tests.e2e.lives` is the mother; it is told of each life
by a line of JSON, and answers with its process id and, when it has ended, its exit status.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from devkit.processes import PR_SET_PDEATHSIG


class Mother:
    """A process that has everything imported; `bear` makes it fork. A context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.lives"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        self._read()

    def bear(self, log: Path, *arguments: str) -> Life:
        """Run `teal ARGUMENTS` with its output in `log`. One life at a time."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([str(log), *arguments]).encode() + b"\n")
        self._process.stdin.flush()
        return Life(self, self._read(), log)

    def _read(self) -> int:
        assert self._process.stdout
        return int(self._process.stdout.readline())

    def ended(self, *, wait: bool) -> int | None:
        """The exit status of the last life (negative: the signal), once it has ended."""
        assert self._process.stdout
        timeout = None if wait else 0
        return self._read() if select.select([self._process.stdout], [], [], timeout)[0] else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:
            self._process.kill()


class Life:
    """One process of `teal`; leaving it as a context manager kills it, if it still runs."""

    def __init__(self, mother: Mother, pid: int, log: Path) -> None:
        self._mother = mother
        self._status: int | None = None
        self.pid = pid
        self.log = log

    @property
    def runs(self) -> bool:
        if self._status is None:
            self._status = self._mother.ended(wait=False)
        return self._status is None

    def wait(self) -> int:
        """Wait until it has ended; its exit status."""
        if self._status is None:
            self._status = self._mother.ended(wait=True)
        assert self._status is not None
        return self._status

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        if self.runs:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def main() -> None:
    """Fork for each line of standard input."""
    from teal.cli.main import app
    from teal.migration.steps.registry import REGISTRY

    print(len(REGISTRY), flush=True)
    mother = os.getpid()
    for line in sys.stdin:
        log, *arguments = json.loads(line)
        pid = os.fork()
        if not pid:
            _live(app, mother, log, arguments)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _live(app: Any, mother: int, log: str, arguments: list[str]) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate((nothing, output, output)):
        os.dup2(file, number)
    if os.getppid() == mother:
        app(arguments)


if __name__ == "__main__":
    main()
