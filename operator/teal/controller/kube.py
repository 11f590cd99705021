"""The few calls to the API server that Teal needs, and how they can fail.

The reconciler knows only this protocol. Every failure that may pass (no answer, 5xx, too many requests, missing
permissions) is a `TransientError`: a partition from the API server costs time, never a migration.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any, NamedTuple, Protocol

from teal.controller.objects import Kind, Ref
from teal.domain.errors import TransientError


class ApiServerError(TransientError):
    """The API server refused or did not answer; `code` is its status, 0 without an answer."""

    def __init__(self, message: str, code: int = 0, retry_after: float | None = None) -> None:
        super().__init__(
            "ApiServerUnavailable" if code in {0, 429} or code >= 500 else "ApiServerRefused", message
        )
        self.code = code
        self.retry_after = retry_after


class GoneError(ApiServerError):
    """There is no such object any more."""


class ConflictError(ApiServerError):
    """The write was meant for another object of this name, or for another version."""


class NotLeaderError(ApiServerError):
    """Not sent: this process has lost its lease."""


class ObjectMeta(NamedTuple):
    """What a list of metadata says about one object."""

    ref: Ref
    uid: str
    resource_version: str


class Kube(Protocol):
    """All calls raise `ApiServerError`; on an object that is gone, `GoneError`."""

    async def get(self, ref: Ref) -> dict[str, Any]:
        """The object as it is now."""
        ...

    def list_metadata(self, kind: Kind, namespace: str | None) -> AsyncIterator[ObjectMeta]:
        """All objects of `kind` in `namespace` (`None`: in all), at one moment, only their metadata."""
        ...

    async def put_status(self, ref: Ref, uid: str, status: Mapping[str, Any]) -> dict[str, Any]:
        """Replace the status of the object with this uid, and return the object after the write.

        Raises:
            ConflictError: another object has its name by now.
        """
        ...

    async def set_finalizers(self, obj: Mapping[str, Any], kind: Kind, own: Collection[str]) -> dict[str, Any]:
        """Leave exactly these of Teal's finalizers on `obj`, and return the object after the write.

        Raises:
            ConflictError: the object has changed since this version.
        """
        ...

    async def post_event(self, namespace: str, event: Mapping[str, Any]) -> None:
        """Create the Event (`events.k8s.io/v1`); it is no error if it exists already."""
        ...

    async def read_secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        """The decoded data of a Secret."""
        ...

    async def read_config_map(self, namespace: str, name: str) -> Mapping[str, str]:
        """The texts of a ConfigMap, by key."""
        ...

    async def cluster_id(self) -> str:
        """The uid of the namespace kube-system, which identifies the cluster."""
        ...

    async def is_served(self, kind: Kind) -> bool:
        """Whether the CRD of `kind` is installed."""
        ...
