"""Every failure on the wire has one meaning, and a write without an answer is never taken for done or undone."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import grpc
import httpx
import pytest
from grpc.aio import AioRpcError, Metadata

from teal.domain.errors import HeldError, TealError, TerminalError, TransientError, UnknownOutcomeError
from teal.domain.observed import Version
from teal.qdrant.errors import from_grpc, from_httpx, from_response, require_supported

URL = "http://qdrant:6333"


def rest(
    status: int, message: str = "", headers: dict[str, str] | None = None, *, write: bool = True
) -> TealError:
    response = httpx.Response(status, json={"status": {"error": message}}, headers=headers)
    return from_response(response, URL, "patch", write=write)


def call(code: grpc.StatusCode, details: str = "", *, write: bool, **trailing: str) -> TealError:
    metadata = Metadata(*((key.replace("_", "-"), value) for key, value in trailing.items()))
    return from_grpc(AioRpcError(code, Metadata(), metadata, details), URL, "upsert", write=write)


@pytest.mark.parametrize(
    ("status", "message", "kind", "reason"),
    [
        (400, "Wrong input: Vector dimension error: expected dim: 4, got 3", TerminalError, "QdrantRefused"),
        (401, "Invalid API key or JWT", TerminalError, "QdrantUnauthorized"),
        (403, "Forbidden: Global access is required", TerminalError, "QdrantUnauthorized"),
        (404, "Not found: Collection `docs` doesn't exist!", TransientError, "CollectionGone"),
        (422, "Validation error in JSON body", TerminalError, "QdrantRefused"),
        (429, "Rate limiting exceeded. Retry after 60s", TransientError, "QdrantBusy"),
        (500, "Service internal error: disk full", UnknownOutcomeError, "QdrantFailed"),
    ],
)
def test_rest_answers(status: int, message: str, kind: type[TealError], reason: str) -> None:
    error = rest(status, message)
    assert type(error) is kind
    assert error.reason == reason
    if status not in (401, 403):
        assert message.split(":")[0] in error.message


def test_a_failure_of_the_server_leaves_a_write_unknown() -> None:
    message = "Service internal error: Waiting for consensus operation commit failed. Timeout set at: 10 seconds"
    assert type(rest(500, message)) is UnknownOutcomeError
    assert type(rest(500, message, write=False)) is TransientError


def test_an_unauthorized_message_names_the_secret() -> None:
    assert "apiKeySecretRef" in rest(401).message


@pytest.mark.parametrize(
    ("message", "headers", "seconds"),
    [
        ("slow down", {"Retry-After": "7"}, 7.0),
        ("slow down", {"Retry-After": "86400"}, 3600.0),
        ("slow down", {"Retry-After": "0"}, None),
        ("Operation requires 1 tokens but only 0.0 were available. Retry after 60s", {}, 60.0),
        ("Write rate limit exceeded, request larger than rate limiter capacity", {}, None),
    ],
)
def test_the_servers_own_waiting_time(message: str, headers: dict[str, str], seconds: float | None) -> None:
    error = rest(429, message, headers)
    assert isinstance(error, TransientError)
    assert error.retry_after == seconds


def test_a_waiting_time_may_be_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=20), usegmt=True)
    for error in (
        rest(429, "slow down", {"Retry-After": date}),
        call(grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down", write=True, retry_after=date),
    ):
        assert isinstance(error, TransientError)
        assert error.retry_after is not None
        assert 0 < error.retry_after <= 1200


def test_a_page_of_a_proxy_is_shown_shortened() -> None:
    response = httpx.Response(502, text="<html>" + "x" * 2000)
    error = from_response(response, URL, "names", write=False)
    assert error.reason == "QdrantFailed"
    assert len(error.message) < 700


@pytest.mark.parametrize(
    ("broken", "reading", "writing"),
    [
        (httpx.ConnectError("Connection refused"), "QdrantUnreachable", "QdrantUnreachable"),
        (httpx.ConnectTimeout(""), "QdrantUnreachable", "QdrantUnreachable"),
        (httpx.ReadTimeout(""), "QdrantUnreachable", "QdrantOutcomeUnknown"),
        (httpx.WriteError("Broken pipe"), "QdrantUnreachable", "QdrantOutcomeUnknown"),
        (httpx.RemoteProtocolError("Server disconnected"), "QdrantUnreachable", "QdrantOutcomeUnknown"),
        (
            httpx.RemoteProtocolError("illegal status line: bytearray(b'\\x15\\x03')"),
            "QdrantTLSFailed",
            "QdrantTLSFailed",
        ),
    ],
)
def test_rest_without_an_answer(broken: httpx.TransportError, reading: str, writing: str) -> None:
    read = from_httpx(broken, URL, "patch", write=False)
    write = from_httpx(broken, URL, "patch", write=True)
    assert (read.reason, write.reason) == (reading, writing)
    assert isinstance(write, UnknownOutcomeError) == (writing == "QdrantOutcomeUnknown")
    assert URL in read.message


def test_a_certificate_that_does_not_verify_is_told_from_a_dead_server() -> None:
    broken = httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]")
    broken.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")
    error = from_httpx(broken, URL, "names", write=False)
    assert error.reason == "QdrantTLSFailed"
    assert "caSecretRef" in error.message


@pytest.mark.parametrize(
    ("code", "details", "reading", "writing"),
    [
        (
            grpc.StatusCode.UNAVAILABLE,
            "failed to connect to all addresses",
            "QdrantUnreachable",
            "QdrantUnreachable",
        ),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", "QdrantUnreachable", "QdrantOutcomeUnknown"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", "QdrantUnreachable", "QdrantOutcomeUnknown"),
        # The last attempt of several: an earlier one may have reached the server.
        (grpc.StatusCode.DEADLINE_EXCEEDED, "failed to connect", "QdrantUnreachable", "QdrantOutcomeUnknown"),
        (grpc.StatusCode.CANCELLED, "connection refused", "QdrantUnreachable", "QdrantOutcomeUnknown"),
        (grpc.StatusCode.UNAVAILABLE, "Ssl handshake failed", "QdrantTLSFailed", "QdrantTLSFailed"),
        (grpc.StatusCode.UNAUTHENTICATED, "Invalid API key", "QdrantUnauthorized", "QdrantUnauthorized"),
        (grpc.StatusCode.PERMISSION_DENIED, "read only", "QdrantUnauthorized", "QdrantUnauthorized"),
        (grpc.StatusCode.NOT_FOUND, "Collection `x` doesn't exist!", "CollectionGone", "CollectionGone"),
        (grpc.StatusCode.INVALID_ARGUMENT, "dimension error", "QdrantRefused", "PointsRefused"),
        (grpc.StatusCode.INVALID_ARGUMENT, "Limit exceeded 9 > 4", "StrictModeLimit", "StrictModeLimit"),
        (grpc.StatusCode.UNIMPLEMENTED, "", "QdrantUnsupported", "QdrantUnsupported"),
        (grpc.StatusCode.INTERNAL, "disk full", "QdrantFailed", "QdrantFailed"),
    ],
)
def test_grpc_says_the_same(code: grpc.StatusCode, details: str, reading: str, writing: str) -> None:
    assert call(code, details, write=False).reason == reading
    assert call(code, details, write=True).reason == writing


def test_refused_points_hold_the_migration() -> None:
    assert isinstance(call(grpc.StatusCode.INVALID_ARGUMENT, write=True), HeldError)


def test_a_failing_server_leaves_a_write_unknown_over_grpc_too() -> None:
    assert type(call(grpc.StatusCode.INTERNAL, "disk full", write=True)) is UnknownOutcomeError
    assert type(call(grpc.StatusCode.INTERNAL, "disk full", write=False)) is TransientError


def test_grpc_rate_limits_name_their_time_in_the_trailer() -> None:
    error = call(grpc.StatusCode.RESOURCE_EXHAUSTED, "Rate limit", write=True, retry_after="9")
    assert isinstance(error, TransientError)
    assert (error.reason, error.retry_after) == ("QdrantBusy", 9.0)


def test_the_version_floor() -> None:
    require_supported(Version.parse("1.17.0-dev"))
    with pytest.raises(TerminalError, match=r"1\.16\.3.*1\.17\.0 or newer") as caught:
        require_supported(Version(1, 16, 3), URL)
    assert caught.value.reason == "QdrantTooOld"
