"""Where the devkit keeps what it makes: one data folder, and free ports on loopback.

`TEAL_DEVKIT_HOME` names the data folder (default `~/.cache/teal-devkit`): `bin/` holds built binaries by
version, `runs/` one folder for each running server. Everything in it can be deleted and is made again.
"""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path


def home() -> Path:
    """The devkit's data folder, created if absent."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "teal-devkit"
    path = Path(os.environ.get("TEAL_DEVKIT_HOME", default))
    path.mkdir(parents=True, exist_ok=True)
    return path


def new_run(name: str) -> Path:
    """A fresh folder for one run of the server `name`; whoever makes it removes it."""
    runs = home() / "runs"
    runs.mkdir(exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=runs))


def free_port() -> int:
    """A TCP port that was free on loopback a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
