"""The aliases; each change is written to disk before it is visible.

Their history is kept for a while, to show a peer that lags behind.
"""

from __future__ import annotations

import time

from devkit.qdrant.errors import not_found

from .files import Files

_KEPT = 60.0  # seconds of history


class Aliases:
    """Alias to collection, now and a while ago."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._now = files.aliases()
        self._past: list[tuple[float, dict[str, str]]] = []  # until when which mapping held

    def target(self, alias: str) -> str | None:
        return self._now.get(alias)

    def all(self, seconds_ago: float = 0.0) -> dict[str, str]:
        """The whole mapping, as it is or as it was."""
        moment = time.monotonic() - seconds_ago
        return next((mapping for until, mapping in self._past if until > moment), self._now)

    def point(self, alias: str, collection: str) -> None:
        """Create an alias, or silently point an existing one elsewhere."""
        self._become({**self._now, alias: collection})

    def remove(self, alias: str) -> None:
        self._become({key: value for key, value in self._now.items() if key != alias})

    def rename(self, old: str, new: str) -> None:
        if old not in self._now:
            raise not_found(f"Alias {old} does not exists!")
        renamed = {key: value for key, value in self._now.items() if key != old}
        self._become({**renamed, new: self._now[old]})

    def drop_target(self, collection: str) -> None:
        if collection in self._now.values():
            self._become({key: value for key, value in self._now.items() if value != collection})

    def _become(self, mapping: dict[str, str]) -> None:
        self._files.save_aliases(mapping)
        now = time.monotonic()
        self._past = [(until, each) for until, each in self._past if until > now - _KEPT]
        self._past.append((now, self._now))
        self._now = mapping
