"""The resource, migration id and phase of the current task, for its log lines.

These are context variables, so a log line from deep inside a step, which knows no Kubernetes, names the
resource.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_context: ContextVar[Mapping[str, str]] = ContextVar("teal_context", default={})  # noqa: B039 - never mutated


def current() -> Mapping[str, str]:
    """The fields of the current task: any of `resource`, `migration` and `phase`."""
    return _context.get()


@contextmanager
def about(resource: str, status: Mapping[str, Any]) -> Iterator[None]:
    """All log lines inside the block are about `resource`, in the phase of its status."""
    migration = status.get("migration") or {}
    fields = {"resource": resource, "migration": migration.get("id"), "phase": status.get("phase")}
    token = _context.set({name: str(value) for name, value in fields.items() if value})
    try:
        yield
    finally:
        _context.reset(token)
