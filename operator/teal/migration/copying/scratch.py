"""The ledger of millions of points in files, because memory is dearer: 24 bytes for an integer id, 32 for a UUID.

A file holds one stream of sorted `Columns`, piece by piece. What the pieces are, and a checksum of each, is
remembered in memory alone; so a file that is older, shorter, damaged or not there cannot be taken for the ledger.

Invariant: a file is read back exactly as it was written, or `ScratchLostError` is raised, whatever happens to
the folder or the disk, and at whichever piece it is found out. Lost means that nothing is known about the whole
stream: the ids that green holds are seeded again and contents decide. It never means that the rest of it is
empty, for then points that were deleted from blue would stay on green.

Pieces are read and not mapped into memory: a mapped file that is cut short kills the process (SIGBUS), and a
mapped page can change after its checksum was compared. Nothing survives the process either, for another operator
may have written to green meanwhile: each process has a folder of its own, and removes those of processes that
have ended.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from itertools import count
from pathlib import Path
from typing import Final

import numpy as np

from teal.domain import keys as k
from teal.domain.columns import Columns
from teal.domain.errors import TransientError

PREFIX: Final = "teal-ledger-"
LOCK: Final = "lock"
DIGEST_BYTES: Final = 16


class ScratchLostError(TransientError):
    """A file of the ledger is gone, or is not what was written. It is made anew from both collections."""

    def __init__(self, message: str) -> None:
        super().__init__("LedgerLost", message)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Where a piece stands in its file, and what it was when it was written. Integers come before UUIDs."""

    offset: int
    integers: int
    uuids: int
    size: int
    checksum: bytes


class Stored:
    """A stream that was written. It can be read any number of times until it is dropped."""

    def __init__(self, path: Path | None, pieces: tuple[_Piece, ...], lost: str | None) -> None:
        self._path, self._pieces, self._lost = path, pieces, lost

    def __len__(self) -> int:
        return sum(piece.integers + piece.uuids for piece in self._pieces)

    def stream(self) -> Iterator[Columns]:
        """All of it, one piece at a time.

        Raises:
            ScratchLostError: at the first piece that cannot be read as it was written. Forget what came before.
        """
        if self._lost is not None:
            raise ScratchLostError(self._lost)
        if self._path is None:
            return
        try:
            with self._path.open("rb", buffering=0) as file:
                for piece in self._pieces:
                    yield _read(file, piece)
        except OSError as e:
            raise ScratchLostError(f"a file of the ledger cannot be read: {e}") from e

    def drop(self) -> None:
        """Free its disk space; what is being read just now can be read to its end."""
        self._lost = "a file of the ledger was dropped"
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)


class Writer:
    """One stream on its way into a file. What goes wrong does not stop the writer: the reader is told."""

    def __init__(self, path: Path | None, lost: str | None = None) -> None:
        self._path, self._lost = path, lost
        self._pieces: list[_Piece] = []
        self._offset = 0

    def append(self, columns: Columns) -> None:
        """The next piece; its keys are above those of all before."""
        if self._lost is not None or self._path is None or not len(columns):
            return
        integers, raw = _packed(columns)
        try:
            with self._path.open("xb" if not self._pieces else "ab") as file:
                file.write(raw)
        except OSError as e:
            self._fail(f"a file of the ledger cannot be written: {e}")
            return
        size = len(columns)
        self._pieces.append(_Piece(self._offset, integers, size - integers, len(raw), _checksum(raw)))
        self._offset += len(raw)

    def finish(self) -> Stored:
        """What was written, or what says that it is lost."""
        return Stored(self._path if self._pieces else None, tuple(self._pieces), self._lost)

    def _fail(self, why: str) -> None:
        self._lost = why
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)


class Scratch:
    """This process's own folder for ledgers, below `parent` (by default, where temporary files belong)."""

    def __init__(self, parent: Path | None = None) -> None:
        self._parent = parent or _temporary()
        self._numbers = count()
        self._folder: Path | None = None
        self._lock: int | None = None
        _sweep(self._parent)

    def writer(self) -> Writer:
        """For a new stream."""
        try:
            return Writer(self._ours() / f"{next(self._numbers)}.columns")
        except OSError as e:
            return Writer(None, f"there is no folder for the ledger: {e}")

    def store(self, stream: Iterable[Columns]) -> Stored:
        """All of a stream at once: for what is short, or when nobody waits."""
        writer = self.writer()
        for piece in stream:
            writer.append(piece)
        return writer.finish()

    def close(self) -> None:
        """Remove the folder. What was stored is lost."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _ours(self) -> Path:
        if self._folder is None or not self._folder.is_dir():
            self.close()
            self._folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._parent))
            self._lock = os.open(self._folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        return self._folder


def _temporary() -> Path:
    """Where temporary files belong; where there is no such place, writers say so when they need it."""
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        return Path("/tmp")  # noqa: S108 - it cannot be written to anyway


def _sweep(parent: Path) -> None:
    """Remove the folders of processes that have ended: nobody holds their locks any more."""
    for lock in parent.glob(f"{PREFIX}*/{LOCK}"):
        with suppress(OSError), lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)


def _packed(columns: Columns) -> tuple[int, bytes]:
    """How many integers, and all columns one after the other, without the bytes that are the same in each key."""
    integers = int(np.count_nonzero(columns.keys["kind"] == k.INTEGER))
    table = k.as_bytes(columns.keys)
    numbers, uuids = table[:integers, _VALUE:], table[integers:, 1:]
    rest = (columns.versions.astype("<i8", copy=False), columns.digests.astype("<u8", copy=False))
    return integers, b"".join(part.tobytes() for part in (numbers, uuids, *rest))


_VALUE: Final = 9
"""Where the eight bytes of an integer begin in its key; the ones before are all zero."""


def _unpacked(raw: bytes, integers: int, uuids: int) -> Columns:
    keys = np.zeros(integers + uuids, k.KEY)
    table = k.as_bytes(keys)
    columns = memoryview(raw)
    end_of_integers, end_of_keys = 8 * integers, 8 * integers + 16 * uuids
    table[:integers, _VALUE:] = np.frombuffer(columns[:end_of_integers], np.uint8).reshape(-1, 8)
    table[integers:, 0] = k.UUID_KIND
    table[integers:, 1:] = np.frombuffer(columns[end_of_integers:end_of_keys], np.uint8).reshape(-1, 16)
    versions, digests = columns[end_of_keys : end_of_keys + 8 * len(keys)], columns[end_of_keys + 8 * len(keys) :]
    return Columns(
        keys,
        np.frombuffer(versions, "<i8").astype(np.int64, copy=False),
        np.frombuffer(digests, "<u8").astype(np.uint64, copy=False),
    )


def _read(file: FileIO, piece: _Piece) -> Columns:
    file.seek(piece.offset)
    raw = file.read(piece.size)
    if len(raw) != piece.size or _checksum(raw) != piece.checksum:
        raise ScratchLostError("a file of the ledger is not what was written to it")
    return _unpacked(raw, piece.integers, piece.uuids)


def _checksum(raw: bytes) -> bytes:
    return hashlib.blake2b(raw, digest_size=DIGEST_BYTES).digest()
