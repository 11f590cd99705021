"""Who is let in: keys and certificates, right and wrong, over REST and gRPC alike."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from devkit.qdrant import EmbeddedQdrant
from teal.domain.errors import TealError, TerminalError
from teal.qdrant.admin import Admin
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.points import Points

TLS = Path(__file__).parent / "tls"
CA = (TLS / "ca.pem").read_text()
KEY = "the-admin-key"


@pytest.fixture(scope="module")
def secured() -> Iterator[EmbeddedQdrant]:
    """A server that wants a key and speaks TLS only."""
    certificate = {"tls_cert": TLS / "server.pem", "tls_key": TLS / "server.key"}
    with EmbeddedQdrant.start(api_key=KEY, read_only_api_key="readers", **certificate) as server:
        yield server


@pytest.fixture(scope="module")
def plain() -> Iterator[EmbeddedQdrant]:
    with EmbeddedQdrant.start() as server:
        yield server


async def rest(endpoint: Endpoint) -> None:
    async with Admin(endpoint) as admin:
        await admin.create("docs", {"vectors": {"size": 4, "distance": "Dot"}})
        assert "docs" in await admin.names()


async def grpc(endpoint: Endpoint) -> None:
    async with Points(endpoint, streams=1) as points:
        assert await points.count("docs") == 0


async def reasons(endpoint: Endpoint) -> list[str]:
    """Why this endpoint is refused, over REST and over gRPC."""
    found = []
    for attempt in (rest, grpc):
        with pytest.raises(TealError) as caught:
            await attempt(endpoint)
        found.append(caught.value.reason)
        assert KEY not in caught.value.message
    return found


async def test_the_right_key_and_the_right_authority(secured: EmbeddedQdrant) -> None:
    endpoint = Endpoint(secured.url, secured.grpc_port, KEY, CA)
    await rest(endpoint)
    await grpc(endpoint)


async def test_an_unchecked_certificate(secured: EmbeddedQdrant) -> None:
    endpoint = Endpoint(secured.url, secured.grpc_port, KEY, insecure_skip_verify=True)
    await rest(endpoint)
    await grpc(endpoint)


async def test_an_unchecked_certificate_may_be_replaced() -> None:
    """By one of another name, signed by itself: the old connections fail, and the new ones take it."""

    def serve(name: str, **ports: int) -> EmbeddedQdrant:
        return EmbeddedQdrant.start(tls_cert=TLS / f"{name}.pem", tls_key=TLS / f"{name}.key", **ports)

    with serve("server") as before:
        endpoint = Endpoint(before.url, before.grpc_port, insecure_skip_verify=True)
        points = Points(endpoint, streams=2)
        with pytest.raises(TealError, match="doesn't exist"):
            await points.count("docs")
    async with points:
        with serve("self-signed", rest_port=before.rest_port, grpc_port=before.grpc_port):
            # A connection that was refused while no server ran is tried again only after its backoff.
            while (reason := await refusal(points)) != "CollectionGone":
                assert reason in ("QdrantTLSFailed", "QdrantUnreachable")
                await asyncio.sleep(0.1)


async def refusal(points: Points) -> str:
    with pytest.raises(TealError) as caught:
        await points.count("docs")
    return caught.value.reason


@pytest.mark.parametrize("key", [None, "a-wrong-key"])
async def test_a_wrong_key(secured: EmbeddedQdrant, key: str | None) -> None:
    endpoint = Endpoint(secured.url, secured.grpc_port, key, CA)
    assert await reasons(endpoint) == ["QdrantUnauthorized", "QdrantUnauthorized"]


async def test_a_key_that_may_only_read(secured: EmbeddedQdrant) -> None:
    async with Admin(Endpoint(secured.url, secured.grpc_port, "readers", CA)) as admin:
        with pytest.raises(TerminalError, match="manage permission") as caught:
            await admin.delete("docs")
    assert caught.value.reason == "QdrantUnauthorized"


async def test_an_unknown_authority(secured: EmbeddedQdrant) -> None:
    endpoint = Endpoint(secured.url, secured.grpc_port, KEY)
    assert await reasons(endpoint) == ["QdrantTLSFailed", "QdrantTLSFailed"]


async def test_tls_to_a_plain_server(plain: EmbeddedQdrant) -> None:
    url = plain.url.replace("http://", "https://")
    assert await reasons(Endpoint(url, plain.grpc_port, ca=CA)) == ["QdrantTLSFailed", "QdrantTLSFailed"]
    blind = Endpoint(url, plain.grpc_port, insecure_skip_verify=True)
    assert await reasons(blind) == ["QdrantTLSFailed", "QdrantTLSFailed"]


async def test_plain_requests_to_a_tls_server(secured: EmbeddedQdrant) -> None:
    """The server just hangs up, so the message has to think of the scheme too."""
    url = secured.url.replace("https://", "http://")
    async with Admin(Endpoint(url, secured.grpc_port, KEY)) as admin:
        with pytest.raises(TealError, match="https") as caught:
            await admin.names()
    assert caught.value.reason in ("QdrantTLSFailed", "QdrantUnreachable")


async def test_the_grpc_port_is_not_the_rest_port(plain: EmbeddedQdrant) -> None:
    async with Points(Endpoint(plain.url, plain.rest_port), streams=1) as points:
        with pytest.raises(TealError, match="grpcPort"):
            await points.count("docs")
