"""The gRPC interface: the bytes of points calls pass through to the workers undecoded.

Only the first field of a points message is read, the name of the collection. Methods that are not listed get
UNIMPLEMENTED.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import grpc as transport

from devkit.qdrant.errors import QdrantError, internal, unserved, wrong_input

from .faults import DroppedError, Faults
from .guard import Guard
from .metrics import Metrics
from .service import Service

Handle = Callable[[bytes], Awaitable[bytes]]
log = logging.getLogger(__name__)

_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
_CODES = {
    400: transport.StatusCode.INVALID_ARGUMENT,
    401: transport.StatusCode.UNAUTHENTICATED,
    403: transport.StatusCode.PERMISSION_DENIED,
    404: transport.StatusCode.NOT_FOUND,
    409: transport.StatusCode.ALREADY_EXISTS,
    422: transport.StatusCode.INVALID_ARGUMENT,
    429: transport.StatusCode.RESOURCE_EXHAUSTED,
    500: transport.StatusCode.INTERNAL,
    501: transport.StatusCode.UNIMPLEMENTED,
    503: transport.StatusCode.UNAVAILABLE,
    504: transport.StatusCode.DEADLINE_EXCEEDED,
}
_POINTS_SERVICE = "qdrant.Points"
_POINTS = {
    "Upsert": "upsert",
    "Delete": "delete",
    "Get": "retrieve",
    "Scroll": "scroll",
    "Query": "query",
    "QueryBatch": "query_batch",
    "Count": "count",
    "Facet": "facet",
    "SetPayload": "set_payload",
    "OverwritePayload": "overwrite_payload",
    "DeletePayload": "delete_payload",
    "ClearPayload": "clear_payload",
    "UpdateVectors": "update_vectors",
    "DeleteVectors": "delete_vectors",
}
_COLLECTIONS = (
    "Get",
    "List",
    "Create",
    "Update",
    "Delete",
    "CollectionExists",
    "UpdateAliases",
    "ListAliases",
    "ListCollectionAliases",
)
_READING = {
    "Get", "List", "ListAliases", "ListCollectionAliases", "CollectionExists", "Scroll", "Query", "QueryBatch",
    "Count", "Facet",
}  # fmt: skip
_OPEN = {"HealthCheck"}


class Grpc:
    """The gRPC services of one server."""

    def __init__(self, service: Service, guard: Guard, faults: Faults, metrics: Metrics) -> None:
        self.service = service
        self.guard = guard
        self.faults = faults
        self.metrics = metrics
        self._messages: dict[str, Handle] | None = None

    def server(self) -> Any:
        """A server without a port yet."""
        server = transport.aio.server(options=_OPTIONS)
        points = {method: self._points(call) for method, call in _POINTS.items()}
        services: dict[str, dict[str, Handle]] = {
            _POINTS_SERVICE: points,
            "qdrant.Collections": {method: self._message(method) for method in _COLLECTIONS},
            "qdrant.Qdrant": {"HealthCheck": self._message("HealthCheck")},
        }
        server.add_generic_rpc_handlers(
            [
                transport.method_handlers_generic_handler(
                    name,
                    {
                        method: transport.unary_unary_rpc_method_handler(self._guarded(name, method, handle))
                        for method, handle in handlers.items()
                    },
                )
                for name, handlers in services.items()
            ]
            + [_Unserved()]
        )
        return server

    def _guarded(self, service: str, method: str, handle: Handle) -> Callable[[bytes, Any], Awaitable[bytes]]:
        async def guarded(body: bytes, context: Any) -> bytes:
            code = 200
            try:
                self._check_key(method, context)
                return await self.faults.around(f"GRPC {service}/{method}", lambda: handle(body))
            except QdrantError as error:
                code = error.status
                await _refuse(context, error)
            except DroppedError:
                code = 503
                await _refuse(context, QdrantError(503, "connection dropped"))
            except Exception as error:
                code = 500
                log.exception("%s/%s failed", service, method)
                await _refuse(context, internal(str(error)))
            finally:
                name = _name_or_nothing(body) if service == _POINTS_SERVICE else ""
                self.metrics.grpc(f"{service}/{method}", name, code)

        return guarded

    def _check_key(self, method: str, context: Any) -> None:
        if method in _OPEN:
            return
        sent = dict(context.invocation_metadata() or ())
        self.guard.check(sent.get("api-key"), sent.get("authorization"), reads=method in _READING)

    def _points(self, call: str) -> Handle:
        async def handle(body: bytes) -> bytes:
            return (await self.service.call(collection_name(body), call, body, wire="grpc", args={})).body

        return handle

    def _message(self, method: str) -> Handle:
        async def handle(body: bytes) -> bytes:
            if self._messages is None:
                # The messages take a second to load, which only those who call these methods should wait for.
                from .messages import Messages

                self._messages = Messages(self.service).handlers()
            return await self._messages[method](body)

        return handle


class _Unserved(transport.GenericRpcHandler):  # type: ignore[misc]
    """Takes the calls that no other handler takes."""

    def service(self, handler_call_details: Any) -> Any:
        async def refuse(_body: bytes, context: Any) -> bytes:
            await _refuse(context, unserved(f"gRPC {handler_call_details.method}"))

        return transport.unary_unary_rpc_method_handler(refuse)


async def _refuse(context: Any, error: QdrantError) -> NoReturn:
    if error.retry_after is not None:
        context.set_trailing_metadata((("retry-after", str(error.retry_after)),))
    await context.abort(_CODES.get(error.status, transport.StatusCode.UNKNOWN), error.message)
    raise AssertionError("abort raises")


def collection_name(message: bytes) -> str:
    """Field 1, a string, of a message that is not decoded any further."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == 2:
            length, position = _varint(message, position)
            if tag >> 3 == 1:
                return message[position : position + length].decode()
            position += length
        elif kind == 0:
            _, position = _varint(message, position)
        else:
            position += {1: 8, 5: 4}.get(kind) or len(message)
    raise wrong_input("the message names no collection")


def _varint(message: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if position >= len(message):
            raise wrong_input("the message ends within a field")
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7


def _name_or_nothing(message: bytes) -> str:
    try:
        return collection_name(message)
    except (QdrantError, UnicodeDecodeError):
        return ""
