"""Options of the controller, in a module of their own: a reader of options need not import the controller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ControllerOptions:
    """Times are in seconds."""

    namespaces: Sequence[str] = ()
    """Which namespaces; none: all."""
    concurrency: int = 16
    """Resources reconciled at the same time."""
    per_endpoint: int = 4
    """Resources of one Qdrant reconciled at the same time."""
    resync: float = 600.0
    """Every resource is reconciled again after this time, at the latest."""
    sweep: float = 300.0
    """How often a list is compared with the cache."""
