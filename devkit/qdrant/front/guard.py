"""Permissions: one API key for everything, another one for reading.

The texts are those of a real server, which distinguishes a missing key from a wrong one.
"""

from __future__ import annotations

import hmac

from devkit.qdrant.errors import QdrantError, forbidden
from devkit.qdrant.settings import Settings

_OPEN = {"/", "/healthz", "/livez", "/readyz"}


class Guard:
    """Checks the key of a request."""

    def __init__(self, settings: Settings) -> None:
        self._full = settings.api_key
        self._reading = settings.read_only_api_key

    def check(self, key: str | None, authorization: str | None, *, reads: bool) -> None:
        """Raise unless the request, by its headers, may read (`reads`) or do everything."""
        if self._full is None and self._reading is None:
            return
        if authorization is not None and authorization.startswith("Bearer "):
            key = key or authorization.removeprefix("Bearer ")
        if key is None:
            raise QdrantError(401, "Must provide an API key or an Authorization bearer token")
        if _same(key, self._full):
            return
        if not _same(key, self._reading):
            raise QdrantError(401, "Invalid API key or JWT")
        if not reads:
            raise forbidden("Global manage access is required")


def is_open(path: str) -> bool:
    """Whether a path needs no key."""
    return path in _OPEN


def _same(given: str, wanted: str | None) -> bool:
    return wanted is not None and hmac.compare_digest(given.encode(), wanted.encode())
