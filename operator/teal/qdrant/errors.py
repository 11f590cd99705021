"""Maps errors of Qdrant and of the connection to reasons and messages. No other module does that.

The rule behind it: a failed read can simply be tried again, but a write without a clear answer may have been
applied. So a broken connection or a failing server means `TransientError` for a read and `UnknownOutcomeError`
for a write, except when there was no connection: then nothing was sent.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime

import grpc
import httpx

from teal.domain.errors import HeldError, TealError, TerminalError, TransientError, UnknownOutcomeError
from teal.domain.observed import Version
from teal.domain.retry_after import retry_after

OLDEST = Version(1, 17)
MAX_DETAIL = 500

LIMIT_EXCEEDED = re.compile(r"(?:Limit exceeded |size limit reached \()\d+ > (\d+)")
RETRY_AFTER = re.compile(r"[Rr]etry after (\d+(?:\.\d+)?)\s*s")
OVER_CAPACITY = "larger than rate limiter capacity"
TLS_WORDS = ("ssl", "certificate", "handshake", "tls_", "wrong version number")
NEVER_SENT = ("failed to connect", "dns resolution failed", "connection refused", "name resolution")


class OverCapacityError(TransientError):
    """The rate limit allows fewer points in a minute than this one request names: ask for fewer at once."""


class TooLargeError(TerminalError):
    """Strict mode allows at most `limit` points (or ids, or results) in one request."""

    def __init__(self, reason: str, message: str, limit: int) -> None:
        super().__init__(reason, message)
        self.limit = limit


def require_supported(version: Version, url: str = "Qdrant") -> None:
    """Refuse servers that lack a feature that a migration needs (`insert_only`, `update_queue`,
    `/optimizations`).

    Raises:
        TerminalError: reason `QdrantTooOld`.
    """
    if version < OLDEST:
        raise TerminalError(
            "QdrantTooOld",
            f"{url} runs version {version}; Teal needs {OLDEST} or newer. Upgrade Qdrant, one minor at a time.",
        )


def not_qdrant(url: str) -> TerminalError:
    return TerminalError(
        "NotQdrant", f"What answers at {url} is not Qdrant's REST interface. Check spec.qdrant.url and its port."
    )


def unauthorized(url: str, detail: str) -> TerminalError:
    return TerminalError(
        "QdrantUnauthorized",
        f"{url} refused the API key ({_short(detail)}). Check that the Secret of spec.qdrant.apiKeySecretRef "
        "holds, under the key it names, a key with manage permission.",
    )


def tls_failed(url: str, detail: str) -> TransientError:
    return TransientError(
        "QdrantTLSFailed",
        f"No TLS connection to {url} ({_short(detail)}). Check that the URL's scheme fits the server "
        "(http or https), that tls.caSecretRef holds the CA that signed its certificate, and that the "
        "certificate names this host.",
    )


def unreachable(url: str, detail: str) -> TransientError:
    return TransientError(
        "QdrantUnreachable",
        f"No answer from {url} ({_short(detail)}). Check that Qdrant runs, that spec.qdrant.url (http or "
        "https, host, port) and grpcPort, or --url and --grpc-port, are right, and that network policies allow "
        "the connection.",
    )


def unknown_outcome(url: str, what: str, detail: str) -> UnknownOutcomeError:
    return UnknownOutcomeError(
        "QdrantOutcomeUnknown", f"{what} was sent to {url}, but no answer came ({_short(detail)})."
    )


def collection_gone(detail: str) -> TransientError:
    return TransientError("CollectionGone", f"{_short(detail)} Teal looks again.")


def from_httpx(error: httpx.TransportError, url: str, what: str, *, write: bool) -> TealError:
    """The error for a REST request that got no answer. `what` names the request for people."""
    detail = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectError | httpx.ReadError) and any(map(_is_tls, _causes(error))):
        return tls_failed(url, detail)
    if _answered_in_tls(error, detail):
        return tls_failed(url, "the server seems to expect https")
    if write and not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return unknown_outcome(url, what, detail)
    return unreachable(url, detail)


def from_response(response: httpx.Response, url: str, what: str, *, write: bool) -> TealError:
    """The error for an answer that is not a success."""
    status, detail = response.status_code, _rest_detail(response)
    if status in (401, 403):
        return unauthorized(url, detail)
    if status == 429:
        return _busy(url, detail, response.headers.get("retry-after"))
    if status == 404 and "Not found: Collection" in detail:
        return collection_gone(detail)
    if status in (400, 404, 405, 409, 413, 422):
        return TerminalError("QdrantRefused", f"{url} refused {what} ({status}): {_short(detail)}")
    return _failed(detail, url, what, str(status), write=write)


def from_grpc(error: grpc.aio.AioRpcError, url: str, what: str, *, write: bool) -> TealError:
    """The error for a gRPC call that failed, in the same words as for REST."""
    code, detail = error.code(), error.details() or ""
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
        return _broken_call(code, detail, url, what, write=write)
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return unauthorized(url, detail)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return _busy(url, detail, _trailing(error, "retry-after"))
    if code is grpc.StatusCode.NOT_FOUND:
        return collection_gone(detail)
    if code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION):
        return _refused(detail, url, what, write=write)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return TerminalError(
            "QdrantUnsupported",
            f"{url} does not offer {what} over gRPC ({_short(detail)}). Check spec.qdrant.grpcPort.",
        )
    return _failed(detail, url, what, code.name, write=write)


def _failed(detail: str, url: str, what: str, code: str, *, write: bool) -> TealError:
    """The server failed. A write may have been applied before that, or may be applied later (consensus
    time-outs).
    """
    kind = UnknownOutcomeError if write else TransientError
    return kind("QdrantFailed", f"{url} failed at {what} ({code}): {_short(detail)}")


def _refused(detail: str, url: str, what: str, *, write: bool) -> TealError:
    message = f"{url} refused {what}: {_short(detail)}"
    if limit := LIMIT_EXCEEDED.search(detail):
        return TooLargeError("StrictModeLimit", message, int(limit[1]))
    if "Exact search disabled" in detail:
        return TerminalError(
            "ExactSearchForbidden",
            f"{message} Teal finds changes by exact searches: allow them in the collection's strict mode "
            "(search_allow_exact: true).",
        )
    if "Index required but not found" in detail:
        return TerminalError(
            "PayloadIndexRequired",
            f"{message} The collection's strict mode (unindexed_filtering_retrieve: false) wants an index on a "
            "field that is filtered by: create it there and add it to spec.payloadIndexes, or remove "
            "spec.migration.changeField.",
        )
    return HeldError("PointsRefused", message) if write else TerminalError("QdrantRefused", message)


def _broken_call(code: grpc.StatusCode, detail: str, url: str, what: str, *, write: bool) -> TealError:
    lowered = detail.lower()
    if any(word in lowered for word in TLS_WORDS):
        return tls_failed(url, detail)
    never_sent = code is grpc.StatusCode.UNAVAILABLE and any(word in lowered for word in NEVER_SENT)
    if write and not never_sent:
        return unknown_outcome(url, what, detail or code.name)
    return unreachable(url, detail or code.name)


def _busy(url: str, detail: str, header: str | None) -> TransientError:
    """The pause is in a header (of Qdrant, or of a proxy) or, with older servers, only in the message."""
    found = RETRY_AFTER.search(detail)
    seconds = retry_after(header or (found and found[1]), datetime.now(UTC))
    kind = OverCapacityError if OVER_CAPACITY in detail else TransientError
    return kind("QdrantBusy", f"{url} limits the rate: {_short(detail)}", seconds)


def _rest_detail(response: httpx.Response) -> str:
    """The message of the server; the body if it does not have Qdrant's form of an error."""
    try:
        return str(response.json()["status"]["error"])
    except (ValueError, KeyError, TypeError):
        return response.text or response.reason_phrase


def _trailing(error: grpc.aio.AioRpcError, name: str) -> str | None:
    for key, value in error.trailing_metadata() or ():
        if key == name:
            return str(value)
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_tls(error: BaseException) -> bool:
    return isinstance(error, ssl.SSLError | ssl.CertificateError)


def _answered_in_tls(error: httpx.TransportError, detail: str) -> bool:
    """Plain HTTP to a TLS port: the alert record of the server is not an HTTP status line."""
    return isinstance(error, httpx.RemoteProtocolError) and "\\x15\\x03" in detail


def _short(detail: str) -> str:
    line = " ".join(detail.split())
    return line if len(line) <= MAX_DETAIL else f"{line[:MAX_DETAIL]}…"
