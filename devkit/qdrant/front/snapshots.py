"""Snapshots: an archive of the files of a shard and the configuration of the collection.

The archive has this server's own format. As on a real server, a snapshot contains the whole collection at one
moment, including its metadata, and so also the `owner` mark.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import shutil
import tarfile
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from pydantic import BaseModel
from pydantic_core import from_json, to_json

from devkit.qdrant import config as configs
from devkit.qdrant.config import Config
from devkit.qdrant.errors import bad_request, not_found, unserved, wrong_input

from . import optimizer
from .collection import Collection
from .service import Service

Json = dict[str, Any]

_CONFIG = "config.json"
_LAYOUTS = ("/snapshots", "/qdrant/snapshots")  # where the official images keep them


class Recovery(BaseModel):
    """The body of `PUT .../snapshots/recover`."""

    location: str
    checksum: str | None = None
    priority: str | None = None


async def create(service: Service, name: str) -> Json:
    """Take a snapshot of a collection as it is at this moment."""
    collection = service.resolve(name)
    stamp = datetime.now(UTC).strftime("%Y-%m-%d-%H-%M-%S")
    folder = service.files.snapshots / collection.name
    folder.mkdir(exist_ok=True)
    target = folder / f"{collection.name}-{time.monotonic_ns()}-{stamp}.snapshot"
    with tempfile.TemporaryDirectory(dir=collection.folder) as scratch:
        copy = Path(scratch) / "shard-copy"
        config = collection.config
        await collection.copy_to(copy)
        await asyncio.to_thread(_pack, copy, config, target)
    return _described(target)


def listing(service: Service, name: str) -> list[Json]:
    folder = service.files.snapshots / service.resolve(name).name
    return [_described(file) for file in sorted(folder.glob("*.snapshot"))]


def path(service: Service, name: str, snapshot: str) -> Path:
    """The file of one snapshot, or 404."""
    file = service.files.snapshots / service.resolve(name).name / snapshot
    if Path(snapshot).name != snapshot or not file.is_file():
        raise not_found(f"Snapshot {snapshot} not found")
    return file


async def recover(service: Service, name: str, given: Recovery) -> None:
    """Restore a collection from a snapshot; a collection that does not exist also gets its configuration."""
    file = _located(service, given.location)
    if given.checksum is not None and given.checksum != await asyncio.to_thread(_checksum, file):
        raise bad_request("Snapshot checksum does not match")
    async with service.changing:
        target = service.aliases.target(name) or name
        scratch = Path(tempfile.mkdtemp(dir=service.settings.data))
        try:
            config = await asyncio.to_thread(_unpack, file, scratch)
            collection = service.collections.get(target)
            if collection is None:
                collection = service.add(target, config)
            elif not configs.same_points(collection.config, config):
                raise wrong_input("Snapshot is not compatible with the existing collection")
            await _replace(collection, scratch / "shard-copy")
        finally:
            await asyncio.to_thread(shutil.rmtree, scratch)


async def _replace(collection: Collection, shard: Path) -> None:
    await optimizer.stop(collection)
    await collection.stop()
    fresh = f"shard-{uuid.uuid4().hex[:8]}"
    await asyncio.to_thread(shard.rename, collection.folder / fresh)
    _, old = collection.swap(None, fresh)
    await asyncio.to_thread(shutil.rmtree, old, ignore_errors=True)  # one that was never used is not there


def _located(service: Service, location: str) -> Path:
    url = urlparse(location)
    if url.scheme != "file":
        raise unserved(f"recovery from {url.scheme}:// locations")
    root = service.files.snapshots.resolve()
    asked = unquote(url.path)
    for layout in _LAYOUTS:
        if asked.startswith(f"{layout}/"):
            asked = str(root / asked.removeprefix(f"{layout}/"))
    file = Path(asked).resolve()
    if not file.is_relative_to(root):
        raise bad_request("Snapshot location must be inside of the snapshots directory")
    if not file.is_file():
        raise not_found(f"Snapshot file {location} does not exist")
    return file


def _pack(shard: Path, config: Config, target: Path) -> None:
    unfinished = target.with_suffix(".partial")
    # The engine preallocates, so most of what is packed are zeros: the fastest compression takes them away.
    with tarfile.open(unfinished, "w:gz", compresslevel=1) as archive:
        content = to_json(config)
        entry = tarfile.TarInfo(_CONFIG)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
        archive.add(shard, arcname=shard.name)
    target.with_suffix(".sha256").write_text(_checksum(unfinished))
    unfinished.rename(target)


def _unpack(file: Path, target: Path) -> Config:
    try:
        with tarfile.open(file) as archive:
            archive.extractall(target, filter="data")
    except tarfile.TarError as error:
        raise wrong_input(f"{file.name} is not a snapshot of the embedded Qdrant: {error}") from None
    config: Config = from_json((target / _CONFIG).read_bytes())
    return config


def _described(file: Path) -> Json:
    stat = file.stat()
    created = datetime.fromtimestamp(stat.st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    checksum = file.with_suffix(".sha256").read_text()
    return {"name": file.name, "creation_time": created, "size": stat.st_size, "checksum": checksum}


def _checksum(file: Path) -> str:
    with file.open("rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()
