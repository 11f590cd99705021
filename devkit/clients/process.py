"""Counting clients in a process of their own, so that their parent cannot slow them down."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from devkit import paths
from devkit.clients.counts import Counts
from devkit.clients.ledger import Ledger
from devkit.clients.workload import Workload
from devkit.processes import Process

WORKLOAD = "workload.json"
LEDGER = "ledger.json"
REPORT = "report.json"


class Clients:
    """Readers and writers. `counts()` shows the current counts; after `stop()` the `ledger` is complete."""

    def __init__(self, workload: Workload, process: Process, folder: Path) -> None:
        self._workload = workload
        self._process = process
        self._folder = folder
        self._final: Counts | None = None
        self._ledger: Ledger | None = None

    @classmethod
    def start(cls, workload: Workload, ledger: Ledger) -> Self:
        """Start clients on what `ledger` says is there (see `load`), and wait until they have begun.

        The ledger of stopped clients may be handed to new ones, which go on where those ended.

        Raises:
            ProcessFailedError: they ended, or had not begun after 30 seconds.
        """
        folder = paths.new_run("clients")
        (folder / WORKLOAD).write_text(workload.model_dump_json())
        ledger.save(folder / LEDGER)
        command = [sys.executable, "-m", "devkit.clients", str(folder)]
        process = Process("clients", command, folder / "log", cwd=Path(__file__).parents[2])
        clients = cls(workload, process, folder)
        try:
            process.wait_ready((folder / REPORT).exists)
        except BaseException:
            clients.close()
            raise
        return clients

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ledger(self) -> Ledger:
        """All acknowledged writes; only after `stop`."""
        if self._ledger is None:
            raise RuntimeError("the ledger is complete only when the clients have stopped")
        return self._ledger

    def counts(self) -> Counts:
        """The counts so far, a fraction of a second old; after `stop` the final ones.

        Raises:
            ProcessFailedError: the clients ended by themselves, which is always an error.
        """
        if self._final is not None:
            return self._final
        self._process.check()
        return self._report()

    def wait_until(self, reached: Callable[[Counts], bool], seconds: float = 60.0) -> Counts:
        """Block until the counts are as wanted, and return them; raises TimeoutError if they never are."""
        deadline = time.monotonic() + seconds
        while not reached(counts := self.counts()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {seconds:g} s: {counts}")
            time.sleep(0.1)
        return counts

    def stop(self) -> Counts:
        """Let every client finish its request, end the process, and return the final counts.

        Raises:
            ProcessFailedError: they did not end by themselves, so the ledger is not known.
        """
        if self._final is None:
            self._process.stop(grace=self._workload.patience + self._workload.timeout)
            if self._process.popen.returncode != 0:
                self._process.check()
            self._final = self._report()
            self._ledger = Ledger.load(self._folder / LEDGER)
            shutil.rmtree(self._folder, ignore_errors=True)
        return self._final

    def close(self) -> None:
        """End the process at once, and remove its folder."""
        self._process.stop(grace=1)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _report(self) -> Counts:
        return Counts.from_json(json.loads((self._folder / REPORT).read_text()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.stop()
        else:
            self.close()
