"""What the engine is given and what it gives back: the interface between Teal and its host.

The operator and the command line both turn a `Resource` into an `Outcome` by `Engine.reconcile`; neither the
engine nor a step knows Kubernetes. A host keeps three promises: one reconcile in flight per resource, the
outcome's status replaces the last one, and the resource comes back after `requeue_after` or when it changes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from teal.api.embedding_set import EmbeddingSet
from teal.api.vector_collection import VectorCollection
from teal.domain.quality import JudgedQuery

ReadJudgedQueries = Callable[[], Awaitable[Sequence[JudgedQuery]]]
"""Reads the judged queries when they are needed; raises `TealError` if they cannot be read."""


class Secrets(Protocol):
    """Reads one key of one Secret of the resource's own namespace, at the moment of use.

    Raises:
        TerminalError: reason `SecretNotFound` or `SecretKeyNotFound`; the message names both.
        TransientError: the API server could not be asked.
    """

    async def read(self, namespace: str, name: str, key: str) -> str: ...


class Reads(Secrets, Protocol):
    """Everything that is read of a resource's own namespace when it is needed."""

    async def config_map(self, namespace: str, name: str) -> Mapping[str, str]:
        """The texts of one ConfigMap, by key.

        Raises:
            TerminalError: reason `ConfigMapNotFound`; the message names it.
            TransientError: the API server could not be asked.
        """
        ...


@dataclass(frozen=True)
class Resource:
    """One VectorCollection as declared, with the EmbeddingSet it refers to (`None`: not found)."""

    manifest: VectorCollection
    embedding_set: EmbeddingSet | None
    uid: str
    namespace: str
    name: str
    generation: int = 1
    deleting: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)
    status: Mapping[str, Any] = field(default_factory=dict)
    guarded: bool = True
    """Whether a finalizer keeps it until the engine has said `finished`: only then are writers held back. A host
    without deletions, such as the command line, leaves it true."""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Note:
    """An Event to post, once, because something happened: `MigrationStarted`, `CutoverCompleted`, …"""

    reason: str
    message: str
    action: str = "Reconcile"
    warning: bool = False


@dataclass(frozen=True)
class Outcome:
    """What one reconcile found and did.

    `status` is the whole status (camelCase, JSON-ready, without nulls). `requeue_after` is in seconds. A
    `failed` outcome asks the host to back off further each time instead. `finished` means that a deleted
    resource needs nothing more, so that its finalizer can go.
    """

    status: Mapping[str, Any]
    notes: Sequence[Note] = ()
    requeue_after: float = 60.0
    failed: bool = False
    finished: bool = False
    endpoint: str = ""
    needs_guard: bool | None = None
    """Whether the resource must be guarded because writers are or may be held back; `None`: that is not known."""
