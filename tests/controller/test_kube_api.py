"""The API server over HTTP: every way it can answer or not becomes a value or one of three errors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from teal.controller import kube_api
from teal.controller.connection import Connection, NoClusterError
from teal.controller.kube import ApiServerError, ConflictError, GoneError
from teal.controller.kube_api import KubeApi
from teal.controller.metrics import Metrics
from teal.controller.objects import CLEANUP_FINALIZER, Kind
from tests.controller.fakes import NAMESPACE, ref, vector_collection

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OBJECT = {"metadata": {"name": "docs", "namespace": NAMESPACE, "uid": "u1", "resourceVersion": "5"}}


class Server:
    """Answers by `handler`, and keeps the requests with their bodies."""

    def __init__(self) -> None:
        self.requests: list[tuple[web.Request, str]] = []
        self.handler: Callable[[web.Request], web.StreamResponse] = lambda _: web.json_response(OBJECT)
        self.connections = 0
        self.host = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request, await request.text()))
        return self.handler(request)

    def answer(self, status: int, body: Any) -> None:
        self.handler = lambda _: web.json_response(body, status=status)

    async def connect(self) -> Connection:
        self.connections += 1
        configuration = Configuration(host=self.host)
        configuration.api_key["BearerToken"] = f"Bearer token-{self.connections}"
        return Connection(configuration, NAMESPACE)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def kube(server: Server, metrics: Metrics) -> AsyncIterator[KubeApi]:
    async with KubeApi(server.connect, metrics) as kube:
        yield kube


async def test_a_write_names_the_very_object(server: Server, kube: KubeApi) -> None:
    await kube.put_status(ref(), "u1", {"phase": "Ready"})
    request, body = server.requests[0]
    assert request.method == "PATCH"
    assert request.path == f"/apis/teal.dev/v1alpha1/namespaces/{NAMESPACE}/vectorcollections/docs/status"
    assert request.headers["Content-Type"] == "application/json-patch+json"
    assert request.headers["Authorization"] == "Bearer token-1"
    test, add = json.loads(body)
    assert test == {"op": "test", "path": "/metadata/uid", "value": "u1"}
    assert add == {"op": "add", "path": "/status", "value": {"phase": "Ready"}}


async def test_finalizers_of_others_stay(server: Server, kube: KubeApi) -> None:
    obj = vector_collection()
    obj["metadata"] |= {"uid": "u1", "resourceVersion": "5", "finalizers": ["theirs", CLEANUP_FINALIZER]}
    await kube.set_finalizers(obj, Kind.VECTOR_COLLECTION, [CLEANUP_FINALIZER])
    await kube.set_finalizers(obj, Kind.VECTOR_COLLECTION, [])
    bodies = [body for _, body in server.requests]
    assert f'"value": ["theirs", "{CLEANUP_FINALIZER}"]' in bodies[0]
    assert '"value": ["theirs"]' in bodies[1]
    assert all('"path": "/metadata/resourceVersion", "value": "5"' in body for body in bodies)


async def test_pages_are_followed(server: Server, kube: KubeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_api, "PAGE", 1)

    def page(request: web.Request) -> web.StreamResponse:
        is_first = "continue" not in request.query
        token = "a b&c" if is_first else ""
        return web.json_response({"metadata": {"continue": token}, "items": [OBJECT]})

    server.handler = page
    found = [each async for each in kube.list_metadata(Kind.VECTOR_COLLECTION, None)]
    assert [each.resource_version for each in found] == ["5", "5"]
    assert [request.query.get("continue") for request, _ in server.requests] == [None, "a b&c"]
    assert "PartialObjectMetadataList" in server.requests[0][0].headers["Accept"]


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (404, GoneError, "ApiServerRefused"),
        (409, ConflictError, "ApiServerRefused"),
        (403, ApiServerError, "ApiServerRefused"),
        (422, ApiServerError, "ApiServerRefused"),
        (429, ApiServerError, "ApiServerUnavailable"),
        (503, ApiServerError, "ApiServerUnavailable"),
    ],
)
async def test_refusals(
    server: Server, kube: KubeApi, status: int, error: type[ApiServerError], reason: str
) -> None:
    server.answer(status, {"message": "because", "details": {"causes": [{"field": "status.phase"}]}})
    with pytest.raises(error, match="because") as caught:
        await kube.get(ref())
    assert (caught.value.code, caught.value.reason) == (status, reason)


async def test_what_a_proxy_answers_is_an_error_too(server: Server, kube: KubeApi) -> None:
    server.handler = lambda _: web.Response(text="<html>Bad Gateway", status=502)
    with pytest.raises(ApiServerError, match="502 <html>Bad Gateway"):
        await kube.get(ref())
    server.handler = lambda _: web.Response(text="<html>Log in", status=200)
    with pytest.raises(ApiServerError, match="not JSON"):
        await kube.get(ref())


async def test_a_failed_test_of_a_patch_is_a_conflict(server: Server, kube: KubeApi) -> None:
    server.answer(422, {"message": "the server rejected our request", "details": {}})
    obj = vector_collection()
    obj["metadata"] |= {"uid": "u1", "resourceVersion": "5"}
    with pytest.raises(ConflictError):
        await kube.set_finalizers(obj, Kind.VECTOR_COLLECTION, [CLEANUP_FINALIZER])


async def test_an_event_that_is_there_already_is_fine(server: Server, kube: KubeApi) -> None:
    server.answer(409, {"message": "already exists"})
    await kube.post_event(NAMESPACE, {"metadata": {"name": "e"}})
    assert len(server.requests) == 1


async def test_refused_credentials_are_read_anew_once(server: Server, kube: KubeApi, metrics: Metrics) -> None:
    def strict(request: web.Request) -> web.StreamResponse:
        known = request.headers["Authorization"] == "Bearer token-2"
        return web.json_response(OBJECT, status=200 if known else 401)

    server.handler = strict
    assert (await kube.get(ref()))["metadata"]["uid"] == "u1"
    server.answer(401, {"message": "Unauthorized"})
    with pytest.raises(ApiServerError, match="Unauthorized"):
        await kube.get(ref())
    assert server.connections == 3
    labels = {"method": "GET", "resource": "vectorcollections", "code": "401"}
    assert metrics.registry.get_sample_value("teal_kubernetes_requests_total", labels) == 3


async def test_silence_is_an_error_and_no_contact(
    server: Server, kube: KubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kube.get(ref())
    contact = kube.last_answer

    async def never(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(aiohttp.ClientSession, "_request", never)
    with pytest.raises(ApiServerError, match="TimeoutError") as caught:
        await kube.get(ref())
    assert caught.value.code == 0
    assert kube.last_answer == contact


async def test_no_way_to_a_cluster_is_an_error(metrics: Metrics) -> None:
    async def nowhere() -> Connection:
        raise NoClusterError("the kubeconfig is gone")

    async with KubeApi(nowhere, metrics) as kube:
        with pytest.raises(ApiServerError, match="the kubeconfig is gone"):
            await kube.get(ref())


async def test_which_kinds_are_served(server: Server, kube: KubeApi) -> None:
    server.answer(200, {"resources": [{"name": "vectorcollections"}]})
    assert await kube.is_served(Kind.VECTOR_COLLECTION)
    assert not await kube.is_served(Kind.EMBEDDING_SET)
    server.answer(404, {"message": "no such group"})
    assert not await kube.is_served(Kind.VECTOR_COLLECTION)


async def test_secrets_are_decoded(server: Server, kube: KubeApi) -> None:
    server.answer(200, {"data": {"key": "czNjcmV0"}})
    assert await kube.read_secret(NAMESPACE, "qdrant") == {"key": b"s3cret"}
    server.answer(200, {})
    assert await kube.read_secret(NAMESPACE, "empty") == {}
