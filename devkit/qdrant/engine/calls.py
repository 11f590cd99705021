"""What a worker does with one request: decode, check strict mode, call the engine, encode.

A call is the same for both wire formats; only `Request` differs. A refused request is refused before the engine
sees it, so a refused write has no effect and takes no sequence number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import qdrant_edge as edge
from pydantic_core import from_json, to_json

from devkit.qdrant.config import Config, shard_number
from devkit.qdrant.errors import QdrantError, bad_request, not_found, wrong_input

from . import queries, schema
from .grpc import GrpcRequest
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
from .rest import RestRequest
from .shard import Shard, engine_errors
from .strict import StrictMode

Json = dict[str, Any]
Update = edge.UpdateOperation

_ORDERED = {"integer", "float", "datetime", "uuid"}
_PAYLOAD_BLOCK = 128  # bytes; a payload takes whole blocks of the storage


class Request(Protocol):
    """One request in one wire format: decoders for the request, encoders for the answer."""

    wait: bool

    @property
    def shard_key(self) -> str | None: ...
    def upsert(self) -> Upsert: ...
    def delete(self) -> Selection: ...
    def set_payload(self) -> SetPayload: ...
    def delete_payload(self) -> DeletePayload: ...
    def clear_payload(self) -> Selection: ...
    def update_vectors(self) -> UpdateVectors: ...
    def delete_vectors(self) -> DeleteVectors: ...
    def retrieve(self) -> Retrieve: ...
    def scroll(self) -> edge.ScrollRequest: ...
    def query(self, vector_of: queries.VectorOf) -> edge.QueryRequest: ...
    def query_batch(self, vector_of: queries.VectorOf) -> list[edge.QueryRequest]: ...
    def count(self) -> edge.CountRequest: ...
    def facet(self) -> edge.FacetRequest: ...
    def operated(self, operation_id: int, *, completed: bool) -> bytes: ...
    def records(self, records: Sequence[edge.Record]) -> bytes: ...
    def page(self, records: Sequence[edge.Record], offset: Any) -> bytes: ...
    def scored(self, points: Sequence[edge.ScoredPoint], version_of: VersionOf) -> bytes: ...
    def batches(self, batches: Sequence[Sequence[edge.ScoredPoint]], version_of: VersionOf) -> bytes: ...
    def counted(self, count: int) -> bytes: ...
    def faceted(self, hits: Sequence[tuple[Any, int]]) -> bytes: ...


class Calls:
    """The calls on one collection's shard."""

    def __init__(self, directory: Path, config: Config, *, enforced: bool = True) -> None:
        self.shard = Shard(directory, config)
        self.strict = _strict(config) if enforced else StrictMode({}, 1)

    @property
    def engine(self) -> edge.EdgeShard:
        return self.shard.engine

    def answer(self, call: str, wire: str, args: dict[str, str], body: bytes) -> bytes:
        """The encoded answer to one request; raises `QdrantError`."""
        if call in _POINT_CALLS:
            request: Request = GrpcRequest(call, body, args) if wire == "grpc" else RestRequest(body, args)
            if request.shard_key is not None:  # none can be made here, so none is there
                raise wrong_input(f"Shard key {request.shard_key} not found")
            return _POINT_CALLS[call](self, request)
        return _OTHER_CALLS[call](self, args, body)

    # ---- writes ---------------------------------------------------------------------------------------------

    def upsert(self, request: Request) -> bytes:
        given = request.upsert()
        if self.shard.config["params"].get("sharding_method") == "custom":
            raise wrong_input("Shard key not specified")
        self.strict.upsert(len(given.points))
        self._check_room()
        self._check_filter(given.condition, writes=True)
        self.shard.check_vectors(given.vectors)
        return self._write(request, Update.upsert_points(given.points, given.condition, given.mode), given.ids)

    def delete(self, request: Request) -> bytes:
        return self._select(request, request.delete(), Update.delete_points, Update.delete_points_by_filter)

    def set_payload(self, request: Request) -> bytes:
        given = request.set_payload()
        self._check_room()
        by_ids, by_filter = Update.set_payload, Update.set_payload_by_filter
        return self._select(request, given.points, by_ids, by_filter, given.payload, given.key)

    def overwrite_payload(self, request: Request) -> bytes:
        given = request.set_payload()
        self._check_room()
        by_ids, by_filter = Update.overwrite_payload, Update.overwrite_payload_by_filter
        return self._select(request, given.points, by_ids, by_filter, given.payload, given.key)

    def delete_payload(self, request: Request) -> bytes:
        given = request.delete_payload()
        by_ids, by_filter = Update.delete_payload, Update.delete_payload_by_filter
        return self._select(request, given.points, by_ids, by_filter, given.keys)

    def clear_payload(self, request: Request) -> bytes:
        selection = request.clear_payload()
        return self._select(request, selection, Update.clear_payload, Update.clear_payload_by_filter)

    def update_vectors(self, request: Request) -> bytes:
        given = request.update_vectors()
        self._check_room()
        self._check_filter(given.condition, writes=True)
        self.shard.check_vectors(given.vectors)
        return self._write(request, Update.update_vectors(given.points, given.condition), given.ids)

    def delete_vectors(self, request: Request) -> bytes:
        given = request.delete_vectors()
        by_ids, by_filter = Update.delete_vectors, Update.delete_vectors_by_filter
        return self._select(request, given.points, by_ids, by_filter, given.names)

    def _select(
        self,
        request: Request,
        selection: Selection,
        by_ids: Callable[..., Update],
        by_filter: Callable[..., Update],
        *args: Any,
    ) -> bytes:
        if selection.ids is not None:
            with engine_errors():
                operation = by_ids(list(selection.ids), *args)
        else:
            self._check_filter(selection.filter, writes=True)
            operation = by_filter(selection.filter, *args)
        return self._write(request, operation, selection.ids)

    def _write(self, request: Request, operation: Update, ids: Sequence[PointId] | None) -> bytes:
        self.strict.write(self.shard.costs(ids))
        try:
            number = self.shard.apply(operation, ids)
        except QdrantError:
            if request.wait:
                raise
            number = self.shard.numbers[0]  # nobody waits for the outcome, so nobody hears of it
        return request.operated(number, completed=request.wait)

    def _check_room(self) -> None:
        if self.strict.limits_sizes:
            points = self.engine.info().points_count
            self.strict.sizes(points, self.shard.vector_bytes(), self._payload_bytes())

    def _payload_bytes(self) -> int:
        """The size of all payloads; counted each time, so only if a limit needs it."""
        if self.strict.limit("max_collection_payload_size_bytes") is None:
            return 0
        records, _ = self.engine.scroll(edge.ScrollRequest(limit=self.engine.info().points_count + 1))
        sizes = (len(to_json(record.payload)) for record in records)
        return sum(-(-size // _PAYLOAD_BLOCK) * _PAYLOAD_BLOCK for size in sizes)

    # ---- reads ----------------------------------------------------------------------------------------------

    def retrieve(self, request: Request) -> bytes:
        given = request.retrieve()
        self.strict.read()
        return request.records(self._retrieved(given))

    def point(self, args: dict[str, str], _body: bytes) -> bytes:
        """One point with all that it has, or 404."""
        self.strict.read()
        given: PointId = int(args["id"]) if args["id"].isdigit() else args["id"]
        found = self._retrieved(Retrieve([given], with_payload=True, with_vector=True))
        if not found:
            raise not_found(f"Point with id {args['id']} does not exists!")
        return RestRequest(b"", {}).record(found[0])

    def _retrieved(self, given: Retrieve) -> list[edge.Record]:
        try:
            found: list[edge.Record] = self.engine.retrieve([*given.ids], given.with_payload, given.with_vector)
        except (TypeError, ValueError) as error:
            raise wrong_input(str(error).partition("\n")[0]) from None
        return found

    def scroll(self, request: Request) -> bytes:
        given = request.scroll()
        self.strict.query(given.limit, None)
        self._check_filter(given.filter)
        self._check_order(given.order_by)
        self.strict.read()
        with engine_errors():
            records, following = self.engine.scroll(given)
        return request.page(records, following)

    def query(self, request: Request) -> bytes:
        given = request.query(self._vector_of)
        self._check_query(given)
        self.strict.read()
        with engine_errors():
            found = self.engine.query(given)
        return request.scored(found, self.shard.version_of)

    def query_batch(self, request: Request) -> bytes:
        given = request.query_batch(self._vector_of)
        self.strict.batch(len(given))
        for each in given:
            self._check_query(each)
        self.strict.read(len(given))
        with engine_errors():
            found = self.engine.query_batch(edge.QueryBatchRequest(given))
        return request.batches(found, self.shard.version_of)

    def count(self, request: Request) -> bytes:
        given = request.count()
        self._check_filter(given.filter)
        self.strict.read()
        with engine_errors():
            count = self.engine.count(given)
        return request.counted(count)

    def facet(self, request: Request) -> bytes:
        given = request.facet()
        self._check_filter(given.filter)
        self.strict.read()
        with engine_errors():
            hits = [(hit.value, hit.count) for hit in self.engine.facet(given).hits]
        return request.faceted(sorted(hits, key=lambda hit: (-hit[1], str(hit[0]))))

    def _check_query(self, given: edge.QueryRequest) -> None:
        self._check_prefetches(given.prefetches)
        if isinstance(given.query, edge.Formula) and not given.prefetches:
            raise bad_request("Validation failed: cannot apply Formula without prefetches")
        self.strict.query(given.limit, given.params)
        self._check_filter(given.filter)
        self._check_order(given.query if isinstance(given.query, edge.OrderBy) else None)

    def _check_prefetches(self, given: Sequence[edge.Prefetch]) -> None:
        """What is fetched first is held to the same limits."""
        for each in given:
            self._check_prefetches(each.prefetches)
            self.strict.query(each.limit, each.params)
            self._check_filter(each.filter)

    def _check_filter(self, given: edge.Filter | None, *, writes: bool = False) -> None:
        if given is not None:
            self.strict.filter(given, self.engine.info().payload_schema, writes=writes)

    def _check_order(self, order: edge.OrderBy | None) -> None:
        """The engine returns nothing if it cannot order; a server refuses."""
        if order is None:
            return
        index = self.engine.info().payload_schema.get(order.key)
        if index is None or schema.index_json(index)["data_type"] not in _ORDERED:
            raise bad_request(
                f"No range index for `order_by` key: `{order.key}`. Please create one to use `order_by`. "
                "Check https://qdrant.tech/documentation/concepts/indexing/#payload-index to see which payload "
                "schemas support Range conditions"
            )

    def _vector_of(self, point: PointId, using: str) -> Any:
        found = self._retrieved(Retrieve([point], with_payload=False, with_vector=True))
        if not found:
            raise not_found(f"No point with id {point} found")
        vectors = found[0].vector
        vector = vectors.get(using) if isinstance(vectors, dict) else vectors
        if vector is None:
            raise wrong_input(f"Not existing vector name error: {using}")
        return vector

    # ---- schema ---------------------------------------------------------------------------------------------

    def create_index(self, args: dict[str, str], body: bytes) -> bytes:
        return self._changed(RestRequest(body, args).index(), args)

    def delete_index(self, args: dict[str, str], _body: bytes) -> bytes:
        with engine_errors():
            operation = Update.delete_field_index(args["field"])
        return self._changed(operation, args)

    def create_vector(self, args: dict[str, str], body: bytes) -> bytes:
        given = from_json(body)
        if dense := given.get("dense"):
            operation = Update.create_dense_vector(
                args["vector"],
                dense["size"],
                schema.distance(dense["distance"]),
                schema.multivector(dense.get("multivector_config")),
                schema.datatype(dense.get("datatype")),
            )
        else:
            modifier = schema.modifier(given["sparse"].get("modifier"))
            operation = Update.create_sparse_vector(args["vector"], modifier)
        return self._changed(operation, args)

    def delete_vector(self, args: dict[str, str], _body: bytes) -> bytes:
        return self._changed(Update.delete_vector_name(args["vector"]), args)

    def _changed(self, operation: Update, args: dict[str, str]) -> bytes:
        number = self.shard.apply_schema(operation)
        return RestRequest(b"", args).operated(number, completed=args.get("wait") == "true")

    # ---- the shard ------------------------------------------------------------------------------------------

    def info(self, args: dict[str, str], _body: bytes) -> bytes:
        """Counts, payload schema and sequence numbers; with `shards`, the points of each shard as well."""
        info = self.engine.info()
        shown: Json = {
            "points_count": info.points_count,
            "indexed_vectors_count": info.indexed_vectors_count,
            "segments_count": info.segments_count,
            "payload_schema": {key: schema.index_json(each) for key, each in info.payload_schema.items()},
            "unindexed_kb": self.shard.unindexed_kb(),
            "op_nums": self.shard.op_nums(),
        }
        if args.get("shards"):
            shown["points_by_shard"] = self.shard.points_by_shard()
            shown["payload_bytes"] = self.shard.payload_bytes_on_disk()
        return to_json(shown)

    def configure(self, args: dict[str, str], body: bytes) -> bytes:
        """Apply a changed configuration.

        `reload`: the engine has to open the shard again to see it. `strict`: strict mode was set, which fills
        its buckets.
        """
        config: Config = from_json(body)
        if args.get("reload"):
            self.shard.reload(config)
        else:
            self.shard.config = config
        if args.get("strict"):
            self.strict = _strict(config)
        return b""

    def buckets(self, _args: dict[str, str], _body: bytes) -> bytes:
        """The tokens that are left in the rate limits, for `enforce` on a copy that replaces this shard."""
        return to_json(self.strict.left())

    def enforce(self, _args: dict[str, str], body: bytes) -> bytes:
        """Start to enforce strict mode, with the rate limits at the level of `body`."""
        self.strict = _strict(self.shard.config)
        self.strict.fill(from_json(body))
        return b""

    def copy(self, args: dict[str, str], _body: bytes) -> bytes:
        self.shard.copy_to(Path(args["to"]))
        return b""

    def optimize(self, _args: dict[str, str], _body: bytes) -> bytes:
        """Build what the configuration requires; returns whether there was work, and what stays unindexed."""
        with engine_errors():
            changed = self.engine.optimize()
        self.engine.flush()
        points = self.engine.info().points_count
        return to_json({"changed": changed, "points_count": points, "unindexed_kb": self.shard.unindexed_kb()})


def _strict(config: Config) -> StrictMode:
    return StrictMode(config.get("strict_mode_config") or {}, shard_number(config))


_POINT_CALLS: dict[str, Callable[[Calls, Request], bytes]] = {
    "upsert": Calls.upsert,
    "delete": Calls.delete,
    "set_payload": Calls.set_payload,
    "overwrite_payload": Calls.overwrite_payload,
    "delete_payload": Calls.delete_payload,
    "clear_payload": Calls.clear_payload,
    "update_vectors": Calls.update_vectors,
    "delete_vectors": Calls.delete_vectors,
    "retrieve": Calls.retrieve,
    "scroll": Calls.scroll,
    "query": Calls.query,
    "query_batch": Calls.query_batch,
    "count": Calls.count,
    "facet": Calls.facet,
}
_OTHER_CALLS: dict[str, Callable[[Calls, dict[str, str], bytes], bytes]] = {
    "point": Calls.point,
    "create_index": Calls.create_index,
    "delete_index": Calls.delete_index,
    "create_vector": Calls.create_vector,
    "delete_vector": Calls.delete_vector,
    "info": Calls.info,
    "configure": Calls.configure,
    "buckets": Calls.buckets,
    "enforce": Calls.enforce,
    "copy": Calls.copy,
    "optimize": Calls.optimize,
}
