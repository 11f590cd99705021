"""Copies the files of a shard and keeps their holes (sparse files).

The engine preallocates: an empty shard is 140 MB long and uses 0.2 MB on disk. An ordinary copy would use the
full length.
"""

from __future__ import annotations

import os
import shutil
from io import RawIOBase
from pathlib import Path

_CHUNK = 1 << 20


def copy_tree(source: Path, target: Path) -> None:
    """Copy a directory; `target` must not exist."""
    shutil.copytree(source, target, copy_function=copy_file)


def copy_file(source: str, target: str) -> None:
    """Copy the written parts of a file; the holes between them stay holes."""
    with Path(source).open("rb", buffering=0) as reader, Path(target).open("wb", buffering=0) as writer:
        size = os.fstat(reader.fileno()).st_size
        writer.truncate(size)
        position = 0
        while (extent := _next_extent(reader.fileno(), position, size)) is not None:
            start, position = extent
            reader.seek(start)
            writer.seek(start)
            _copy(reader, writer, position - start)


def _next_extent(descriptor: int, position: int, size: int) -> tuple[int, int] | None:
    if position >= size:
        return None
    try:
        start = os.lseek(descriptor, position, os.SEEK_DATA)
    except OSError:  # nothing but a hole from here on
        return None
    return start, os.lseek(descriptor, start, os.SEEK_HOLE)


def _copy(reader: RawIOBase, writer: RawIOBase, length: int) -> None:
    while length:
        chunk = reader.read(min(length, _CHUNK))
        if not chunk:
            return
        writer.write(chunk)
        length -= len(chunk)
