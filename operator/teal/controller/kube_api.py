"""The API server over HTTP: `Kube` on top of the official client's connection, without its generated models.

Invariants: every request has a time limit. Every answer becomes a value or an `ApiServerError`. A write names
the uid or the version of the object, so it never hits another object that was created under the same name.
"""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient

import teal
from teal.api.common import GROUP, VERSION
from teal.controller.connection import Connection, NoClusterError
from teal.controller.kube import ApiServerError, ConflictError, GoneError, NotLeaderError, ObjectMeta
from teal.controller.metrics import Metrics
from teal.controller.objects import Kind, Ref, collection_path, finalizers_of, ref_of, uid_of, with_finalizers
from teal.domain.retry_after import retry_after

logger = logging.getLogger(__name__)

TIMEOUT = aiohttp.ClientTimeout(total=30, connect=10)
PAGE = 500

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
LEASES = "coordination.k8s.io/v1"
METADATA_ONLY = f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

UNPROCESSABLE = 422


class KubeApi:
    """See `Kube`. Connects at the first call, and again with new credentials when the old ones are refused."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        metrics: Metrics,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        """`may_write` is asked before each write; if it answers no, the write raises `NotLeaderError`."""
        self._connect = connect
        self._may_write = may_write
        self._metrics = metrics
        self._client: ApiClient | None = None
        self.last_answer = time.monotonic()
        """The time (`time.monotonic`) of the last answer of the API server; at first: now."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()  # type: ignore[no-untyped-call]

    async def get(self, ref: Ref) -> dict[str, Any]:
        return await self._call("GET", ref.path, ref.kind.plural)

    async def list_metadata(self, kind: Kind, namespace: str | None) -> AsyncIterator[ObjectMeta]:
        query = {"limit": str(PAGE)}
        while True:
            path = f"{collection_path(kind, namespace)}?{urlencode(query)}"
            page = await self._call("GET", path, kind.plural, accept=METADATA_ONLY)
            for item in page["items"] or ():  # an empty list of metadata is null
                yield ObjectMeta(ref_of(kind, item), uid_of(item), item["metadata"]["resourceVersion"])
            token = page["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token

    async def put_status(self, ref: Ref, uid: str, status: Mapping[str, Any]) -> dict[str, Any]:
        # Not a merge patch: with that the status subresource ignores the uid, and fields that are not named stay.
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "add", "path": "/status", "value": status},
        ]
        return await self._call("PATCH", f"{ref.path}/status", ref.kind.plural, patch, JSON_PATCH)

    async def set_finalizers(self, obj: Mapping[str, Any], kind: Kind, own: Collection[str]) -> dict[str, Any]:
        ref, metadata = ref_of(kind, obj), obj["metadata"]
        wanted = finalizers_of(with_finalizers(obj, own))
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
            {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
            {"op": "add", "path": "/metadata/finalizers", "value": wanted},
        ]
        return await self._call("PATCH", ref.path, ref.kind.plural, patch, JSON_PATCH)

    async def post_event(self, namespace: str, event: Mapping[str, Any]) -> None:
        path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
        try:
            await self._call("POST", path, "events", event)
        except ConflictError:
            logger.debug("Event %s exists already", event["metadata"]["name"])

    async def read_secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        secret = await self._call("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}", "secrets")
        return {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}

    async def read_lease(self, namespace: str, name: str) -> dict[str, Any] | None:
        """See `LeaseApi`."""
        try:
            return await self._call("GET", f"{_leases(namespace)}/{name}", "leases")
        except GoneError:
            return None

    async def write_lease(
        self, namespace: str, name: str, spec: Mapping[str, Any], version: str | None
    ) -> dict[str, Any]:
        """See `LeaseApi`."""
        if version is None:
            lease = {"apiVersion": LEASES, "kind": "Lease", "metadata": {"name": name}, "spec": spec}
            return await self._call("POST", _leases(namespace), "leases", lease)
        body = {"metadata": {"resourceVersion": version}, "spec": spec}
        return await self._call("PATCH", f"{_leases(namespace)}/{name}", "leases", body, MERGE_PATCH)

    async def read_config_map(self, namespace: str, name: str) -> Mapping[str, str]:
        found = await self._call("GET", f"/api/v1/namespaces/{namespace}/configmaps/{name}", "configmaps")
        return dict(found.get("data") or {})

    async def cluster_id(self) -> str:
        return uid_of(await self._call("GET", "/api/v1/namespaces/kube-system", "namespaces"))

    async def is_served(self, kind: Kind) -> bool:
        try:
            group = await self._call("GET", f"/apis/{GROUP}/{VERSION}", "discovery")
        except GoneError:
            return False
        return any(resource["name"] == kind.plural for resource in group["resources"])

    async def _call(
        self, method: str, path: str, resource: str, body: Any = None, sends: str = JSON, accept: str = JSON
    ) -> dict[str, Any]:
        """One request, and a second one with new credentials if the first gets 401."""
        if method != "GET" and not self._may_write():
            raise NotLeaderError(f"{method} {resource}: not sent, because another operator may lead by now")
        try:
            return await self._request(method, path, resource, body, sends, accept)
        except ApiServerError as error:
            if error.code != 401:
                raise
            logger.info("The API server refused the credentials: reading them again")
            await self.close()
            return await self._request(method, path, resource, body, sends, accept)

    async def _request(
        self, method: str, path: str, resource: str, body: Any, sends: str, accept: str
    ) -> dict[str, Any]:
        code = 0
        try:
            client = await self._connected()
            headers = {"Accept": accept, "Content-Type": sends, "User-Agent": f"teal/{teal.__version__}"}
            await client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
            url = client.configuration.host + path
            answer = await client.call_api(method, url, headers, body, _request_timeout=TIMEOUT)
            code, content = answer.status, await answer.read()  # type: ignore[no-untyped-call]
        except (aiohttp.ClientError, OSError, TimeoutError, NoClusterError) as error:
            raise ApiServerError(f"{method} {resource}: {str(error) or type(error).__name__}") from error
        finally:
            self._metrics.requests.labels(method, resource, code).inc()
        self.last_answer = time.monotonic()
        what = f"{method} {resource}"
        if code < 300:
            return _decoded(what, code, content)
        raise _error(what, code, content, answer.headers.get("Retry-After"))

    async def _connected(self) -> ApiClient:
        if self._client is None:
            self._client = ApiClient((await self._connect()).configuration)
        return self._client


def _leases(namespace: str) -> str:
    return f"/apis/{LEASES}/namespaces/{namespace}/leases"


def _decoded(what: str, code: int, content: bytes) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(content)
    except ValueError as error:
        raise ApiServerError(f"{what}: the answer is not JSON: {_excerpt(content)}", code) from error
    return answer


def _error(what: str, code: int, content: bytes, header: str | None) -> ApiServerError:
    try:
        status = json.loads(content)
        said, details = status["message"], status.get("details") or {}
    except (ValueError, KeyError, TypeError):  # not from the API server itself, such as a proxy's page
        said, details = _excerpt(content), {}
    kind = {404: GoneError, 409: ConflictError}.get(code, ApiServerError)
    if (
        code == UNPROCESSABLE and "causes" not in details
    ):  # the answer to a failed JSON Patch `test`; other errors have causes
        kind = ConflictError
    return kind(f"{what}: {code} {said}", code, retry_after(header, datetime.now(UTC)))


def _excerpt(content: bytes) -> str:
    return content[:200].decode(errors="replace")
