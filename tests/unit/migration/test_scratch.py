"""A file of the ledger is read back as it was written, or it is lost; it is never something else."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teal.domain.columns import Columns, pieces
from teal.migration.copying.scratch import LOCK, PREFIX, Scratch, ScratchLostError, Stored
from tests.unit.domain.columns import POINTS, Id, Row, columns, points

SOME: dict[Id, Row] = {**{i: (i, i + 1) for i in range(10)}, **{UUID(int=i): (-1, 1 << 63) for i in range(10)}}


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path)


@pytest.fixture
def stored(scratch: Scratch) -> Stored:
    """`SOME` in pieces of three."""
    return scratch.store(pieces(columns(SOME), 3))


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{PREFIX}*/*.columns"))


@given(POINTS, st.integers(1, 5))
@settings(max_examples=50)
def test_what_was_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory, some: dict[Id, Row], size: int
) -> None:
    scratch = Scratch(tmp_path_factory.mktemp("scratch"))
    found = scratch.store(pieces(columns(some), size))
    for _ in range(2):
        assert points(found.stream()) == some
        assert all(len(piece) <= size for piece in found.stream())
    assert len(found) == len(some)
    scratch.close()


def test_an_integer_takes_24_bytes_and_a_uuid_32(scratch: Scratch, stored: Stored, tmp_path: Path) -> None:
    assert [file.stat().st_size for file in files(tmp_path)] == [10 * 24 + 10 * 32]


def test_streams_do_not_meet(scratch: Scratch, stored: Stored) -> None:
    other = scratch.store(pieces(columns({5: (1, 1)})))
    assert points(stored.stream()) == SOME
    assert points(other.stream()) == {5: (1, 1)}


def test_dropped_is_lost_and_frees_the_disk(stored: Stored, tmp_path: Path) -> None:
    reading = stored.stream()
    first = next(reading)
    stored.drop()
    assert files(tmp_path) == []
    assert points([first, *reading]) == SOME
    with pytest.raises(ScratchLostError) as lost:
        list(stored.stream())
    assert lost.value.reason == "LedgerLost"
    stored.drop()


def cut_short(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


def one_bit(file: Path) -> None:
    raw = bytearray(file.read_bytes())
    raw[-3] ^= 4
    file.write_bytes(raw)


def replaced(file: Path) -> None:
    """By one of an older version of the same ledger."""
    other = Scratch(file.parent)
    other.store(pieces(columns({**SOME, UUID(int=9): (7, 7)}), 3))
    files(file.parent)[0].rename(file)


def no_folder(file: Path) -> None:
    shutil.rmtree(file.parent)


@pytest.mark.parametrize("damage", [Path.unlink, no_folder, cut_short, one_bit, replaced])
def test_a_damaged_file_is_lost(stored: Stored, tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    damage(files(tmp_path)[0])
    with pytest.raises(ScratchLostError):
        list(stored.stream())


@pytest.mark.parametrize("damage", [cut_short, one_bit])
def test_damage_while_it_is_read_is_not_its_end(stored: Stored, tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    reading = stored.stream()
    read: list[Columns] = [next(reading)]
    damage(files(tmp_path)[0])
    with pytest.raises(ScratchLostError):
        read.extend(reading)


def test_a_folder_that_vanishes_while_it_is_written_to(scratch: Scratch, tmp_path: Path) -> None:
    writer = scratch.writer()
    parts = list(pieces(columns(SOME), 3))
    writer.append(parts[0])
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    for part in parts[1:]:
        writer.append(part)
    with pytest.raises(ScratchLostError):
        list(writer.finish().stream())
    assert points(scratch.store(parts).stream()) == SOME


def test_without_a_folder_nothing_is_known(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "absent")
    with pytest.raises(ScratchLostError, match="no folder"):
        list(scratch.store(pieces(columns(SOME))).stream())
    assert len(scratch.store([])) == 0


def test_a_full_disk_is_found_out_by_the_reader(scratch: Scratch) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
    try:
        found = scratch.store(pieces(columns(SOME), 3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with pytest.raises(ScratchLostError, match="cannot be written"):
        list(found.stream())


class TestFolders:
    def test_close_removes_it_and_loses_what_it_held(
        self, scratch: Scratch, stored: Stored, tmp_path: Path
    ) -> None:
        scratch.close()
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(ScratchLostError):
            list(stored.stream())

    def test_a_living_one_is_left_alone(self, stored: Stored, tmp_path: Path) -> None:
        Scratch(tmp_path)
        assert points(stored.stream()) == SOME

    def test_one_of_a_process_that_has_ended_is_removed(self, tmp_path: Path) -> None:
        ended = Scratch(tmp_path)
        ended.store(pieces(columns(SOME)))
        assert ended._lock is not None
        os.close(ended._lock)  # as the system does for a process that ends
        assert len(list(tmp_path.glob(f"{PREFIX}*/{LOCK}"))) == 1
        Scratch(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_folders_of_others_are_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / f"{PREFIX}without-a-lock").mkdir()
        (tmp_path / "other").mkdir()
        Scratch(tmp_path)
        assert len(list(tmp_path.iterdir())) == 2
