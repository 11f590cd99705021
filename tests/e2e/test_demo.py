"""Ctrl-C in the midst of the demo leaves nothing behind, so that it can be run again at once."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devkit import paths
from devkit.control_plane import ControlPlane
from devkit.processes import Process


@pytest.fixture
def home(tmp_path: Path, local_control_plane: ControlPlane) -> Path:
    """A data folder of the demo's own, with what is built already."""
    folder = tmp_path / "home"
    folder.mkdir()
    for built in paths.home().iterdir():
        if built.name != "runs":
            (folder / built.name).symlink_to(built)
    return folder


def about(folder: Path) -> Iterator[str]:
    """The commands of running processes that name `folder`."""
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = each.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has just ended
            continue
        if str(folder) in command:
            yield command


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="processes are told from /proc")
@pytest.mark.parametrize("moment", ["Starting the embedded Qdrant", "from now on"])
def test_interrupted(home: Path, tmp_path: Path, moment: str) -> None:
    environment = {"TEAL_DEVKIT_HOME": str(home), "QDRANT_URL": ""}
    command = [sys.executable, "-m", "devkit.demo"]
    with Process("demo", command, tmp_path / "log", env=environment, cwd=Path(__file__).parents[2]) as demo:
        demo.wait_ready(lambda: moment in demo.tail(100), 120)
        assert list((home / "runs").iterdir())
        assert list(about(home))
        demo.popen.send_signal(signal.SIGINT)
        assert demo.popen.wait(60) == 130, demo.tail(100)
        assert "everything that was started has been stopped" in demo.tail(100)
        assert "Traceback" not in demo.tail(100)
    assert list((home / "runs").iterdir()) == []
    assert list(about(home)) == []
