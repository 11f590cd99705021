"""Child processes that become ready, are stopped by id, and never outlive their parent unnoticed.

Every server of the devkit is a `Process`: its output goes to a log file, a probe shows when it is ready, and it
ends by SIGTERM and, after a grace period, SIGKILL. A child that ends early raises an error with the tail of its
log.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

PR_SET_PDEATHSIG = 1
# SIGKILL, because nobody is left to wait, and an API server whose etcd is gone ignores SIGTERM.
DIE_WITH_PARENT = f"""
import ctypes, os, sys
ctypes.CDLL(None).prctl({PR_SET_PDEATHSIG}, {int(signal.SIGKILL)})
os.execv(sys.argv[1], sys.argv[1:])
"""


class ProcessFailedError(RuntimeError):
    """A child ended, or was not ready in time; the message carries the tail of its log."""


def _dying_with_parent(command: Sequence[str]) -> list[str]:
    """`command`, run so that it ends with the thread that starts it.

    The new process itself asks the kernel for that, and the setting survives its exec. Between fork and exec the
    request would run in a copy of a process with many threads, where for example gRPC may crash.
    """
    program = shutil.which(command[0])
    if program is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", "-c", DIE_WITH_PARENT, program, *command[1:]]


@cache
def _forker(_pid: int) -> ThreadPoolExecutor:
    """The one thread of this process that forks.

    To Linux the parent is the *thread* that forked: a child started in a worker of some event loop would be
    ended with that loop. This thread lives as long as the process.
    """
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="forker")


class Process:
    """One child process, in a session of its own so that a Ctrl-C reaches only the parent."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self.popen = (
                _forker(os.getpid())
                .submit(
                    subprocess.Popen,
                    _dying_with_parent(command),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **(env or {})},
                    cwd=cwd,
                    start_new_session=True,
                )
                .result()
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def wait_ready(self, probe: Callable[[], bool], seconds: float = 30.0) -> None:
        """Poll `probe` until it is true; raise when the child ends or `seconds` pass first."""
        deadline = time.monotonic() + seconds
        while not probe():
            self.check()
            if time.monotonic() > deadline:
                raise ProcessFailedError(f"{self.name} was not ready after {seconds:.0f} s\n{self.tail()}")
            time.sleep(0.05)

    def check(self) -> None:
        """Raise if the child has ended."""
        if not self.running:
            raise ProcessFailedError(f"{self.name} ended with {self.popen.returncode}\n{self.tail()}")

    def tail(self, lines: int = 30) -> str:
        """The last lines of the child's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, grace: float = 10.0) -> None:
        """SIGTERM, then SIGKILL after `grace` seconds; returns when the child is gone."""
        if self.running:
            self.popen.terminate()
            try:
                self.popen.wait(grace)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL, as a crash would be; returns when the child is gone."""
        self.popen.kill()
        self.popen.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
