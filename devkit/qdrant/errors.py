"""Refusals with the words and status codes of a real server.

Clients decide by the status code, and people by the text, so both follow the recorded answers. Every refusal
that reaches a client is a `QdrantError`; any other exception is a bug here and gets 500.
"""

from __future__ import annotations

from http import HTTPStatus


class QdrantError(Exception):
    """An answer that is not a success: an HTTP status, the text, and for 429 the seconds to wait."""

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after


def wrong_input(message: str) -> QdrantError:
    return QdrantError(HTTPStatus.BAD_REQUEST, f"Wrong input: {message}")


def bad_request(message: str) -> QdrantError:
    return QdrantError(HTTPStatus.BAD_REQUEST, f"Bad request: {message}")


def not_found(message: str) -> QdrantError:
    return QdrantError(HTTPStatus.NOT_FOUND, f"Not found: {message}")


def no_collection(name: str) -> QdrantError:
    return not_found(f"Collection `{name}` doesn't exist!")


def already_exists(name: str) -> QdrantError:
    return QdrantError(HTTPStatus.CONFLICT, f"Wrong input: Collection `{name}` already exists!")


def malformed(message: str, body: bytes) -> QdrantError:
    """A malformed JSON body; the position is that of the parser after reading all of it."""
    line, column = body.count(b"\n") + 1, len(body) - (body.rfind(b"\n") + 1)
    where = f"at line {line} column {column}"
    return QdrantError(HTTPStatus.BAD_REQUEST, f"Format error in JSON body: {message} {where}")


def invalid(field: str, message: str, where: str = "JSON body") -> QdrantError:
    """A value out of its bounds."""
    return QdrantError(HTTPStatus.UNPROCESSABLE_ENTITY, f"Validation error in {where}: [{field}: {message}]")


def forbidden(message: str) -> QdrantError:
    return QdrantError(HTTPStatus.FORBIDDEN, f"Forbidden: {message}")


def rate_limited(message: str, retry_after: int | None = None) -> QdrantError:
    return QdrantError(HTTPStatus.TOO_MANY_REQUESTS, f"Rate limiting exceeded: {message}", retry_after)


def internal(message: str) -> QdrantError:
    return QdrantError(HTTPStatus.INTERNAL_SERVER_ERROR, f"Service internal error: {message}")


def unserved(what: str) -> QdrantError:
    """A feature of a real server that this one does not implement; the refusal names it."""
    return QdrantError(HTTPStatus.NOT_IMPLEMENTED, f"The embedded Qdrant does not serve {what}")
