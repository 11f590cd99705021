"""One request of the REST interface: its JSON becomes the engine's objects, its answer becomes JSON.

Only `result` is written here; the front adds the envelope. Floats of vectors and scores are 32-bit, and are
written as a real server writes them (see `floats`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import qdrant_edge as edge
from pydantic_core import to_json

from devkit.qdrant.config import json_object
from devkit.qdrant.errors import invalid, malformed, wrong_input

from . import queries
from .filters import BadFilterError, read_filter
from .floats import shortest
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
from .schema import index_schema

Json = dict[str, Any]
P = ParamSpec("P")
R = TypeVar("R")

_MODES = {
    "upsert": edge.UpdateMode.Upsert,
    "insert_only": edge.UpdateMode.InsertOnly,
    "update_only": edge.UpdateMode.UpdateOnly,
}


def _reading(read: Callable[P, R]) -> Callable[P, R]:
    """Turn every error of a malformed body into the refusal for such bodies."""

    @wraps(read)
    def reading(*args: P.args, **kwargs: P.kwargs) -> R:
        request = args[0]
        if not isinstance(request, RestRequest):
            raise TypeError("only methods of a request read one")
        try:
            return read(*args, **kwargs)
        except KeyError as error:
            raise malformed(f"missing field `{error.args[0]}`", request.body) from None
        except (BadFilterError, TypeError, ValueError, AttributeError) as error:
            raise malformed(_first_line(error), request.body) from None

    return reading


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


class RestRequest:
    """A request's body and query parameters, and the encoders of its answer."""

    def __init__(self, body: bytes, args: dict[str, str]) -> None:
        self.body = body
        self.wait = args.get("wait") == "true"
        self.given = json_object(body)

    @property
    def shard_key(self) -> str | None:
        parts = [self.given, *(self.given.get("searches") or ())]
        return next((str(part["shard_key"]) for part in parts if part.get("shard_key") is not None), None)

    # ---- writes ---------------------------------------------------------------------------------------------

    @_reading
    def upsert(self) -> Upsert:
        given = self._unbatched() if "batch" in self.given else self.given["points"]
        if not given:
            raise wrong_input("Empty update request")
        vectors = [_vectors(point["vector"]) for point in given]
        mode = self.given.get("update_mode")
        if mode is not None and mode not in _MODES:
            raise BadFilterError(
                f"unknown variant `{mode}`, expected one of `upsert`, `insert_only`, `update_only`"
            )
        return Upsert(
            ids=_ids(point["id"] for point in given),
            points=[
                edge.Point(point["id"], vector, point.get("payload"))
                for point, vector in zip(given, vectors, strict=True)
            ],
            vectors=vectors,
            condition=read_filter(self.given.get("update_filter")),
            mode=None if mode is None else _MODES[mode],
        )

    def _unbatched(self) -> list[Json]:
        batch = self.given["batch"]
        ids = batch["ids"]
        payloads = batch.get("payloads") or [None] * len(ids)
        vectors = batch["vectors"]
        if isinstance(vectors, dict):
            vectors = [dict(zip(vectors, row, strict=True)) for row in zip(*vectors.values(), strict=True)]
        return [
            {"id": point, "vector": vector, "payload": payload}
            for point, vector, payload in zip(ids, vectors, payloads, strict=True)
        ]

    @_reading
    def delete(self) -> Selection:
        return self._selection()

    @_reading
    def clear_payload(self) -> Selection:
        return self._selection()

    @_reading
    def set_payload(self) -> SetPayload:
        return SetPayload(self._selection(), self.given["payload"], self.given.get("key"))

    @_reading
    def delete_payload(self) -> DeletePayload:
        return DeletePayload(self._selection(), self.given["keys"])

    @_reading
    def update_vectors(self) -> UpdateVectors:
        given = self.given["points"]
        vectors = [_vectors(point["vector"]) for point in given]
        return UpdateVectors(
            ids=_ids(point["id"] for point in given),
            points=[edge.PointVectors(point["id"], each) for point, each in zip(given, vectors, strict=True)],
            vectors=vectors,
            condition=read_filter(self.given.get("update_filter")),
        )

    @_reading
    def delete_vectors(self) -> DeleteVectors:
        names = self.given["vector"]
        return DeleteVectors(self._selection(), names if isinstance(names, list) else [names])

    def _selection(self) -> Selection:
        if self.given.get("points") is not None:
            return Selection(ids=_ids(self.given["points"]))
        if self.given.get("filter") is not None:
            return Selection(filter=read_filter(self.given["filter"]) or edge.Filter())
        raise BadFilterError("data did not match any variant of untagged enum PointsSelector")

    @_reading
    def index(self) -> edge.UpdateOperation:
        schema = index_schema(self.given["field_schema"])
        return edge.UpdateOperation.create_field_index(self.given["field_name"], schema)

    # ---- reads ----------------------------------------------------------------------------------------------

    @_reading
    def retrieve(self) -> Retrieve:
        return Retrieve(
            ids=_ids(self.given["ids"]),
            with_payload=queries.with_payload(self.given.get("with_payload"), default=True),
            with_vector=queries.with_vector(self.given.get("with_vector")),
        )

    @_reading
    def scroll(self) -> edge.ScrollRequest:
        _check_limit(self.given)
        return queries.scroll_request(self.given)

    @_reading
    def query(self, vector_of: queries.VectorOf) -> edge.QueryRequest:
        _check_limit(self.given)
        return queries.query_request(self.given, vector_of)

    @_reading
    def query_batch(self, vector_of: queries.VectorOf) -> list[edge.QueryRequest]:
        for each in self.given["searches"]:
            _check_limit(each)
        return [queries.query_request(each, vector_of) for each in self.given["searches"]]

    @_reading
    def count(self) -> edge.CountRequest:
        return queries.count_request(self.given)

    @_reading
    def facet(self) -> edge.FacetRequest:
        _check_limit(self.given)
        return queries.facet_request(self.given)

    # ---- answers --------------------------------------------------------------------------------------------

    def operated(self, operation_id: int, *, completed: bool) -> bytes:
        status = "completed" if completed else "acknowledged"
        return to_json({"operation_id": operation_id, "status": status})

    def records(self, records: Sequence[edge.Record]) -> bytes:
        return to_json(_records(records), inf_nan_mode="null")

    def record(self, record: edge.Record) -> bytes:
        return to_json(_records([record])[0], inf_nan_mode="null")

    def page(self, records: Sequence[edge.Record], offset: Any) -> bytes:
        following = None if offset is None else point_id(offset)
        return to_json({"points": _records(records), "next_page_offset": following}, inf_nan_mode="null")

    def scored(self, points: Sequence[edge.ScoredPoint], version_of: VersionOf) -> bytes:
        return to_json({"points": _scored(points, version_of)}, inf_nan_mode="null")

    def batches(self, batches: Sequence[Sequence[edge.ScoredPoint]], version_of: VersionOf) -> bytes:
        return to_json([{"points": _scored(points, version_of)} for points in batches], inf_nan_mode="null")

    def counted(self, count: int) -> bytes:
        return to_json({"count": count})

    def faceted(self, hits: Sequence[tuple[Any, int]]) -> bytes:
        return to_json({"hits": [{"value": value, "count": count} for value, count in hits]})


def point_id(given: Any) -> PointId:
    """An id as JSON shows it: a number, or a UUID's text."""
    return given if isinstance(given, int) else str(given)


def _ids(given: Iterable[Any]) -> list[PointId]:
    """Ids as given, checked here because the engine would take `true` for 1."""
    ids = list(given)
    for each in ids:
        if type(each) is not int and not isinstance(each, str):
            raise BadFilterError(
                f"value {each} is not a valid point ID, valid values are an unsigned integer or a UUID"
            )
    return ids


def _check_limit(given: Json) -> None:
    limit = given.get("limit")
    if isinstance(limit, int) and limit < 1:
        raise invalid("limit", f"value {limit} invalid, must be 1 or larger")


def _vectors(given: Any) -> Any:
    """The vector or vectors of a point; a dict is one by name, or one sparse vector."""
    if isinstance(given, dict):
        return {name: queries.vector(each) for name, each in given.items()}
    if not isinstance(given, list):
        raise BadFilterError("data did not match any variant of untagged enum VectorStruct")
    return given


def _records(records: Sequence[edge.Record]) -> list[Json]:
    vectors = _vectors_json([record.vector for record in records])
    return [_point(record, vector) for record, vector in zip(records, vectors, strict=True)]


def _scored(points: Sequence[edge.ScoredPoint], version_of: VersionOf) -> list[Json]:
    vectors = _vectors_json([point.vector for point in points])
    scores = shortest([point.score for point in points])
    return [
        {"id": point_id(point.id), "version": version_of(point), "score": score} | _rest(point, vector)
        for point, vector, score in zip(points, vectors, scores, strict=True)
    ]


def _point(record: edge.Record, vector: Any) -> Json:
    return {"id": point_id(record.id)} | _rest(record, vector)


def _rest(point: edge.Record | edge.ScoredPoint, vector: Any) -> Json:
    shown: Json = {}
    payload = point.payload
    if payload is not None:
        shown["payload"] = payload
    if vector is not None:
        shown["vector"] = vector
    if point.order_value is not None:
        shown["order_value"] = point.order_value
    return shown


def _vectors_json(vectors: list[Any]) -> list[Any]:
    """The vectors of a page. All of one dense vector each, the common case, are shortened in one go."""
    if not vectors or not all(isinstance(each, list) and each and isinstance(each[0], float) for each in vectors):
        return [_vector_json(each) for each in vectors]
    numbers = shortest(number for each in vectors for number in each)
    size = len(vectors[0])
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def _vector_json(vector: Any) -> Any:
    if vector is None:
        return None
    if isinstance(vector, dict):
        return {name: _vector_json(each) for name, each in vector.items()}
    if isinstance(vector, edge.SparseVector):
        return {"indices": vector.indices, "values": shortest(vector.values)}
    if vector and isinstance(vector[0], list):
        return [shortest(each) for each in vector]
    return shortest(vector)
