"""How the controller works; apart from it, because whoever only reads options need not load it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ControllerOptions:
    """Times are in seconds."""

    namespaces: Sequence[str] = ()
    """Which namespaces; none: all."""
    concurrency: int = 16
    """Resources that are looked at at once."""
    per_endpoint: int = 4
    """The same for each Qdrant."""
    resync: float = 600.0
    """Every resource is looked at again after so long, at the latest."""
    sweep: float = 300.0
    """So often a list is held against the cache."""
