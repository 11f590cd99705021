"""What the present task is about, for its log lines: resource, migration id and phase.

Context variables, so that a line logged deep in a step, which knows no Kubernetes, still says for whom it ran.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_context: ContextVar[Mapping[str, str]] = ContextVar("teal_context", default={})  # noqa: B039 - never mutated


def current() -> Mapping[str, str]:
    """The fields of the present task: any of `resource`, `migration` and `phase`."""
    return _context.get()


@contextmanager
def about(resource: str, status: Mapping[str, Any]) -> Iterator[None]:
    """Everything logged within is about `resource`, in the phase that its status gives."""
    migration = status.get("migration") or {}
    fields = {"resource": resource, "migration": migration.get("id"), "phase": status.get("phase")}
    token = _context.set({name: str(value) for name, value in fields.items() if value})
    try:
        yield
    finally:
        _context.reset(token)
