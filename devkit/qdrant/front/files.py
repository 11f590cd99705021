"""The files of a server: one for each collection, one for the aliases; each is replaced as a whole.

    aliases.json
    collections/<id>/collection.json     name, configuration, and which shard folder is the current one
    collections/<id>/<shard>/            the engine's files
    snapshots/<collection>/<name>

A collection exists if its `collection.json` exists: that file is written last at creation and removed first at
deletion. Folders without one are leftovers, removed at the next start. There is one file for each collection,
because a change of one among thousands must not rewrite the others.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from devkit.qdrant.config import Config


@dataclass(slots=True)
class Record:
    """The stored part of a collection."""

    name: str
    config: Config
    shard: str
    """The folder of the current shard; another one replaces it when the optimizers have worked on a copy."""


class Files:
    """The data folder of one server."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._collections = data / "collections"
        self.snapshots = data / "snapshots"
        self._aliases = data / "aliases.json"
        self._collections.mkdir(parents=True, exist_ok=True)
        self.snapshots.mkdir(exist_ok=True)

    def collections(self) -> Iterator[tuple[Path, Record]]:
        """The folder and record of every collection; leftovers are removed."""
        for folder in sorted(self._collections.iterdir()):
            file = folder / "collection.json"
            if not file.exists():
                shutil.rmtree(folder)
                continue
            record = Record(**from_json(file.read_bytes()))
            for child in folder.iterdir():
                if child.is_dir() and child.name != record.shard:
                    shutil.rmtree(child)
            yield folder, record

    def new_folder(self) -> Path:
        """A folder for a new collection."""
        folder = self._collections / uuid.uuid4().hex
        folder.mkdir()
        return folder

    def save(self, folder: Path, record: Record) -> None:
        _replace(folder / "collection.json", asdict(record))

    def remove(self, folder: Path) -> None:
        (folder / "collection.json").unlink()
        shutil.rmtree(folder)

    def aliases(self) -> dict[str, str]:
        """Alias to collection."""
        if not self._aliases.exists():
            return {}
        aliases: dict[str, str] = from_json(self._aliases.read_bytes())
        return aliases

    def save_aliases(self, aliases: dict[str, str]) -> None:
        _replace(self._aliases, aliases)


def _replace(path: Path, content: Any) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(to_json(content))
    os.replace(fresh, path)
