"""Where the devkit keeps what it makes: one data folder, and free ports on loopback.

`TEAL_DEVKIT_HOME` names the data folder (default `~/.cache/teal-devkit`): `bin/` holds built binaries by
version, `runs/` one folder for each running server. Everything in it can be deleted and is made again.
"""

from __future__ import annotations

import errno
import os
import platform
import random
import shutil
import socket
import tempfile
from pathlib import Path

OWNER = "owner"


def home() -> Path:
    """The devkit's data folder, created if absent."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "teal-devkit"
    path = Path(os.environ.get("TEAL_DEVKIT_HOME", default))
    path.mkdir(parents=True, exist_ok=True)
    return path


def new_run(name: str) -> Path:
    """A new folder for one run of the server `name`; the caller removes it.

    A run belongs to the process that made it, which is named in its file `owner`. Runs whose owner was killed
    before it could clean up are removed here; delete that file to keep a run.
    """
    runs = home() / "runs"
    runs.mkdir(exist_ok=True)
    for owner in runs.glob(f"*/{OWNER}"):
        if _is_dead(owner):
            shutil.rmtree(owner.parent, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=runs))
    (folder / OWNER).write_text(f"{os.getpid()} {platform.node()}")
    return folder


def _is_dead(owner: Path) -> bool:
    """Whether the owner was a process of this machine and is gone; one of another machine (a container) may
    live.
    """
    try:
        pid, _, node = owner.read_text().partition(" ")
    except FileNotFoundError:
        return False
    if node != platform.node():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it lives, and belongs to another user
        return False
    return False


def free_port() -> int:
    """A TCP port that was free on loopback a moment ago.

    It is below those that a kernel gives to outgoing connections (from 32768 on Linux), so none of these takes
    it while a server that listens there is being restarted.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return port
