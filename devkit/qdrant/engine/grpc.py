"""One request of the gRPC interface: its message becomes the engine's objects, its answer is packed.

Bulk data (points, ids, payloads) is read directly from the message. Small nested parts (filters, queries,
selectors) are converted to the REST form by the client library, so there is only one parser for them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import qdrant_edge as edge
from qdrant_client import grpc
from qdrant_client.conversions.conversion import GrpcToRest

from devkit.qdrant.errors import QdrantError, wrong_input

from . import queries, wire
from .filters import read_condition
from .requests import (
    DeletePayload,
    DeleteVectors,
    PointId,
    Retrieve,
    Selection,
    SetPayload,
    UpdateVectors,
    Upsert,
    VersionOf,
)

Json = dict[str, Any]

MESSAGES: dict[str, Any] = {
    "upsert": grpc.UpsertPoints,
    "delete": grpc.DeletePoints,
    "set_payload": grpc.SetPayloadPoints,
    "overwrite_payload": grpc.SetPayloadPoints,
    "delete_payload": grpc.DeletePayloadPoints,
    "clear_payload": grpc.ClearPayloadPoints,
    "update_vectors": grpc.UpdatePointVectors,
    "delete_vectors": grpc.DeletePointVectors,
    "retrieve": grpc.GetPoints,
    "scroll": grpc.ScrollPoints,
    "query": grpc.QueryPoints,
    "query_batch": grpc.QueryBatchPoints,
    "count": grpc.CountPoints,
    "facet": grpc.FacetCounts,
}
_MODES = {1: edge.UpdateMode.InsertOnly, 2: edge.UpdateMode.UpdateOnly}


class GrpcRequest:
    """A request's message, and the encoders of its answer."""

    def __init__(self, call: str, body: bytes, args: Mapping[str, str]) -> None:
        self.started = time.perf_counter()
        try:
            self.message = MESSAGES[call].FromString(body)
        except ValueError as error:
            raise wrong_input(f"not a protobuf message: {error}") from None
        if args.get("slices") == "unknown":
            _forget_slices(self.message)
        self.wait = bool(getattr(self.message, "wait", False))

    @property
    def shard_key(self) -> str | None:
        parts = [self.message, *getattr(self.message, "query_points", ())]
        given = (part.shard_key_selector for part in parts if _has(part, "shard_key_selector"))
        return next((", ".join(key.keyword or str(key.number) for key in each.shard_keys) for each in given), None)

    # ---- writes ---------------------------------------------------------------------------------------------

    def upsert(self) -> Upsert:
        message = self.message
        if not message.points:
            raise wrong_input("Empty update request")
        ids = [point_id(point.id) for point in message.points]
        vectors = [_vectors(point.vectors) for point in message.points]
        return Upsert(
            ids=ids,
            points=[
                _checked(edge.Point, each, vector, wire.plain_map(point.payload))
                for each, vector, point in zip(ids, vectors, message.points, strict=True)
            ],
            vectors=vectors,
            condition=_filter(message, "update_filter"),
            mode=_MODES.get(message.update_mode),
        )

    def delete(self) -> Selection:
        return _selection(self.message.points)

    def clear_payload(self) -> Selection:
        return _selection(self.message.points)

    def set_payload(self) -> SetPayload:
        message = self.message
        key = message.key if message.HasField("key") else None
        return SetPayload(_selection(message.points_selector), wire.plain_map(message.payload), key)

    def delete_payload(self) -> DeletePayload:
        return DeletePayload(_selection(self.message.points_selector), list(self.message.keys))

    def update_vectors(self) -> UpdateVectors:
        ids = [point_id(point.id) for point in self.message.points]
        vectors = [_vectors(point.vectors) for point in self.message.points]
        return UpdateVectors(
            ids=ids,
            points=[_checked(edge.PointVectors, *pair) for pair in zip(ids, vectors, strict=True)],
            vectors=vectors,
            condition=_filter(self.message, "update_filter"),
        )

    def delete_vectors(self) -> DeleteVectors:
        return DeleteVectors(_selection(self.message.points_selector), list(self.message.vectors.names))

    # ---- reads ----------------------------------------------------------------------------------------------

    def retrieve(self) -> Retrieve:
        return Retrieve(
            ids=[point_id(each) for each in self.message.ids],
            with_payload=queries.with_payload(_payload(self.message), default=True),
            with_vector=queries.with_vector(_vector_names(self.message)),
        )

    def scroll(self) -> edge.ScrollRequest:
        message = self.message
        order = GrpcToRest.convert_order_by(message.order_by) if message.HasField("order_by") else None
        given = {
            "offset": point_id(message.offset) if message.HasField("offset") else None,
            "limit": message.limit if message.HasField("limit") else None,
            "with_payload": _payload(message),
            "with_vector": _vector_names(message),
            "order_by": _plain(order),
        }
        return queries.scroll_request(given, _filter(message, "filter"))

    def query(self, vector_of: queries.VectorOf) -> edge.QueryRequest:
        return _query(self.message, vector_of)

    def query_batch(self, vector_of: queries.VectorOf) -> list[edge.QueryRequest]:
        return [_query(each, vector_of) for each in self.message.query_points]

    def count(self) -> edge.CountRequest:
        exact = self.message.exact if self.message.HasField("exact") else True
        return edge.CountRequest(exact, _filter(self.message, "filter"))

    def facet(self) -> edge.FacetRequest:
        message = self.message
        limit = message.limit if message.HasField("limit") else queries.DEFAULT_LIMIT
        return edge.FacetRequest(message.key, limit, message.exact, _filter(message, "filter"))

    # ---- answers --------------------------------------------------------------------------------------------

    def operated(self, operation_id: int, *, completed: bool) -> bytes:
        status = grpc.UpdateStatus.Completed if completed else grpc.UpdateStatus.Acknowledged
        result = grpc.UpdateResult(operation_id=operation_id, status=status)
        return _packed(grpc.PointsOperationResponse(result=result, time=self._time()))

    def records(self, records: Sequence[edge.Record]) -> bytes:
        return b"".join(wire.delimited(1, _record(each)) for each in records) + _packed(
            grpc.GetResponse(time=self._time())
        )

    def page(self, records: Sequence[edge.Record], offset: Any) -> bytes:
        tail = grpc.ScrollResponse(time=self._time())
        if offset is not None:
            _fill_id(tail.next_page_offset, offset)
        return b"".join(wire.delimited(2, _record(each)) for each in records) + _packed(tail)

    def scored(self, points: Sequence[edge.ScoredPoint], version_of: VersionOf) -> bytes:
        return _results(points, version_of) + _packed(grpc.QueryResponse(time=self._time()))

    def batches(self, batches: Sequence[Sequence[edge.ScoredPoint]], version_of: VersionOf) -> bytes:
        return b"".join(wire.delimited(1, _results(points, version_of)) for points in batches) + _packed(
            grpc.QueryBatchResponse(time=self._time())
        )

    def counted(self, count: int) -> bytes:
        return _packed(grpc.CountResponse(result=grpc.CountResult(count=count), time=self._time()))

    def faceted(self, hits: Sequence[tuple[Any, int]]) -> bytes:
        shown = [grpc.FacetHit(value=_facet_value(value), count=count) for value, count in hits]
        return _packed(grpc.FacetResponse(hits=shown, time=self._time()))

    def _time(self) -> float:
        return time.perf_counter() - self.started


def point_id(message: grpc.PointId) -> PointId:
    kind = message.WhichOneof("point_id_options")
    if kind is None:
        raise wrong_input("Empty point id")
    given: PointId = getattr(message, kind)
    return given


def _fill_id(message: grpc.PointId, given: Any) -> None:
    if isinstance(given, int):
        message.num = given
    else:
        message.uuid = str(given)


def _packed(message: Any) -> bytes:
    packed: bytes = message.SerializeToString()
    return packed


def _checked(make: Any, *args: Any) -> Any:
    try:
        return make(*args)
    except (TypeError, ValueError) as error:
        raise wrong_input(str(error).partition("\n")[0]) from None


def _vectors(message: grpc.Vectors) -> Any:
    if message.WhichOneof("vectors_options") == "vectors":
        return {name: _vector(each) for name, each in message.vectors.vectors.items()}
    return _vector(message.vector) if message.HasField("vector") else {}


def _vector(message: grpc.Vector) -> Any:
    kind = message.WhichOneof("vector")
    if kind == "dense":
        return wire.floats(message.dense)
    if kind == "multi_dense":
        return [wire.floats(row) for row in message.multi_dense.vectors]
    if kind == "sparse":
        return queries.sparse_vector(list(message.sparse.indices), list(message.sparse.values))
    if kind is not None:
        raise QdrantError(501, "The embedded Qdrant does not serve inference")
    return _older_vector(message)


def _older_vector(message: grpc.Vector) -> Any:
    """The form that clients wrote before 1.13: one list of numbers, with indices or a count of rows beside it."""
    numbers = list(message.data)
    if message.HasField("indices"):
        return queries.sparse_vector(list(message.indices.data), numbers)
    if message.HasField("vectors_count"):
        size = len(numbers) // message.vectors_count
        return [numbers[start : start + size] for start in range(0, len(numbers), size)]
    return numbers


def _selection(message: grpc.PointsSelector) -> Selection:
    kind = message.WhichOneof("points_selector_one_of")
    if kind == "points":
        return Selection(ids=[point_id(each) for each in message.points.ids])
    if kind == "filter":
        return Selection(filter=_read_filter(message.filter))
    raise wrong_input("No PointSelector provided")


def _has(message: Any, field: str) -> bool:
    return field in message.DESCRIPTOR.fields_by_name and message.HasField(field)


def _filter(message: Any, field: str) -> edge.Filter | None:
    return _read_filter(getattr(message, field)) if message.HasField(field) else None


def _read_filter(message: grpc.Filter) -> edge.Filter:
    at_least = message.min_should if message.HasField("min_should") else None
    try:
        return edge.Filter(
            must=_conditions(message.must) or None,
            should=_conditions(message.should) or None,
            must_not=_conditions(message.must_not) or None,
            min_should=edge.MinShould(_conditions(at_least.conditions), at_least.min_count) if at_least else None,
        )
    except (TypeError, ValueError) as error:
        raise wrong_input(str(error).partition("\n")[0]) from None


def _conditions(messages: Iterable[grpc.Condition]) -> list[Any]:
    """The conditions; an empty one, as of a kind that the server does not know, counts for nothing."""
    return [_condition(each) for each in messages if each.WhichOneof("condition_one_of") is not None]


def _forget_slices(message: Any) -> None:
    """What a server before 1.19 makes of a slice: a field that it does not know, so an empty condition."""
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for each in value if field.is_repeated else [value]:
            if field.message_type.name == "Condition" and each.HasField("slice"):
                each.ClearField("slice")
            else:
                _forget_slices(each)


def _condition(message: grpc.Condition) -> Any:
    kind = message.WhichOneof("condition_one_of")
    if kind == "has_id":  # thousands of ids in a version scan: not through models
        return edge.HasIdCondition({point_id(each) for each in message.has_id.has_id})
    if kind == "filter":
        return _read_filter(message.filter)
    return read_condition(_plain(GrpcToRest.convert_condition(message)))


def _plain(model: Any) -> Any:
    if hasattr(model, "model_dump"):
        return model.model_dump(mode="json", exclude_none=True, by_alias=True)
    return model


def _payload(message: Any) -> Any:
    if not message.HasField("with_payload"):
        return None
    return _plain(GrpcToRest.convert_with_payload_selector(message.with_payload))


def _vector_names(message: Any) -> Any:
    if not message.HasField("with_vectors"):
        return None
    return GrpcToRest.convert_with_vectors_selector(message.with_vectors)


def _query(message: grpc.QueryPoints, vector_of: queries.VectorOf) -> edge.QueryRequest:
    bare = grpc.QueryPoints()
    bare.CopyFrom(message)
    bare.ClearField("filter")
    for each in bare.prefetch:
        each.ClearField("filter")
    given = _plain(GrpcToRest.convert_query_points(bare))
    for prefetch, each in zip(given.get("prefetch") or (), message.prefetch, strict=True):
        prefetch["filter"] = _filter(each, "filter")
    return queries.query_request(given, vector_of, _filter(message, "filter"))


def _record(record: edge.Record) -> bytes:
    message = grpc.RetrievedPoint()
    _fill_point(message, record)
    vector = record.vector
    return _packed(message) + (b"" if vector is None else wire.delimited(4, wire.vectors_output(vector)))


def _results(points: Sequence[edge.ScoredPoint], version_of: VersionOf) -> bytes:
    return b"".join(wire.delimited(1, _scored(each, version_of(each))) for each in points)


def _scored(point: edge.ScoredPoint, version: int) -> bytes:
    if point.payload is None and point.vector is None and point.order_value is None:
        return wire.scored(point.id, point.score, version)
    message = grpc.ScoredPoint(score=point.score, version=version)
    _fill_point(message, point)
    vector = point.vector
    return _packed(message) + (b"" if vector is None else wire.delimited(6, wire.vectors_output(vector)))


def _fill_point(message: Any, point: edge.Record | edge.ScoredPoint) -> None:
    _fill_id(message.id, point.id)
    payload = point.payload
    if payload:
        wire.fill_map(message.payload, payload)
    order = point.order_value
    if order is not None:
        field = "int" if isinstance(order, int) else "float"
        setattr(message.order_value, field, order)


def _facet_value(value: Any) -> grpc.FacetValue:
    if isinstance(value, bool):
        return grpc.FacetValue(bool_value=value)
    return grpc.FacetValue(integer_value=value) if isinstance(value, int) else grpc.FacetValue(string_value=value)
