"""Collections and aliases over gRPC: each message becomes the JSON of the REST interface, and back.

So there is one parser and one writer of configurations; the client library converts between the two forms.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic_core import to_json
from qdrant_client import grpc
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.http import models

from devkit.qdrant.engine.wire import plain_map
from devkit.qdrant.settings import TITLE

from .service import Service

Handle = Callable[[bytes], Awaitable[bytes]]
Json = dict[str, Any]


class Messages:
    """The methods whose messages are read here: those of collections, and the health check."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def handlers(self) -> dict[str, Handle]:
        return {
            "Get": self._get,
            "List": self._list,
            "Create": self._create,
            "Update": self._update,
            "Delete": self._delete,
            "CollectionExists": self._exists,
            "UpdateAliases": self._change_aliases,
            "ListAliases": self._aliases,
            "ListCollectionAliases": self._collection_aliases,
            "HealthCheck": self._health,
        }

    async def _health(self, _body: bytes) -> bytes:
        return _packed(grpc.HealthCheckReply(title=TITLE, version=self.service.settings.report_version))

    async def _get(self, body: bytes) -> bytes:
        started = time.perf_counter()
        message = grpc.GetCollectionInfoRequest.FromString(body)
        info = await self.service.info(message.collection_name)
        result = RestToGrpc.convert_collection_info(models.CollectionInfo.model_validate(info))
        return _packed(grpc.GetCollectionInfoResponse(result=result, time=time.perf_counter() - started))

    async def _list(self, _body: bytes) -> bytes:
        names = [grpc.CollectionDescription(name=name) for name in self.service.collections]
        return _packed(grpc.ListCollectionsResponse(collections=names))

    async def _create(self, body: bytes) -> bytes:
        message = grpc.CreateCollection.FromString(body)
        await self.service.create(message.collection_name, to_json(_creation(message)))
        return _done(result=True)

    async def _update(self, body: bytes) -> bytes:
        message = grpc.UpdateCollection.FromString(body)
        metadata = plain_map(message.metadata)
        message.ClearField("metadata")
        asked = _plain(GrpcToRest.convert_update_collection(message))
        await self.service.patch(message.collection_name, to_json({**asked, "metadata": metadata or None}))
        return _done(result=True)

    async def _delete(self, body: bytes) -> bytes:
        message = grpc.DeleteCollection.FromString(body)
        return _done(result=await self.service.delete(message.collection_name))

    async def _exists(self, body: bytes) -> bytes:
        message = grpc.CollectionExistsRequest.FromString(body)
        exists = grpc.CollectionExists(exists=self.service.exists(message.collection_name))
        return _packed(grpc.CollectionExistsResponse(result=exists))

    async def _change_aliases(self, body: bytes) -> bytes:
        message = grpc.ChangeAliases.FromString(body)
        await self.service.change_aliases([_alias_action(action) for action in message.actions])
        return _done(result=True)

    async def _aliases(self, _body: bytes) -> bytes:
        return _alias_list(self.service.aliases.all())

    async def _collection_aliases(self, body: bytes) -> bytes:
        name = grpc.ListCollectionAliasesRequest.FromString(body).collection_name
        aliases = self.service.aliases.all()
        return _alias_list({alias: target for alias, target in aliases.items() if target == name})


def _creation(message: Any) -> Json:
    """The body of `PUT /collections/{name}` that asks for the same."""
    asked: Json = {
        field: getattr(message, field)
        for field in ("shard_number", "on_disk_payload", "replication_factor", "write_consistency_factor")
        if message.HasField(field)
    }
    for field, name, convert in _PARTS:
        if message.HasField(field):
            asked[name] = _plain(convert(getattr(message, field)))
    asked["metadata"] = plain_map(message.metadata)
    return asked


_PARTS: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("vectors_config", "vectors", GrpcToRest.convert_vectors_config),
    ("sparse_vectors_config", "sparse_vectors", GrpcToRest.convert_sparse_vector_config),
    ("hnsw_config", "hnsw_config", GrpcToRest.convert_hnsw_config_diff),
    ("wal_config", "wal_config", GrpcToRest.convert_wal_config_diff),
    ("optimizers_config", "optimizers_config", GrpcToRest.convert_optimizers_config_diff),
    ("quantization_config", "quantization_config", GrpcToRest.convert_quantization_config),
    ("strict_mode_config", "strict_mode_config", GrpcToRest.convert_strict_mode_config),
    ("sharding_method", "sharding_method", GrpcToRest.convert_sharding_method),
)


def _plain(model: Any) -> Any:
    if isinstance(model, dict):
        return {key: _plain(value) for key, value in model.items()}
    if hasattr(model, "model_dump"):
        return model.model_dump(mode="json", exclude_none=True)
    return model


def _alias_action(message: Any) -> Json:
    kind = message.WhichOneof("action")
    if kind is None:
        return {}
    fields = getattr(message, kind)
    return {kind: {field.name: value for field, value in fields.ListFields()}}


def _alias_list(aliases: dict[str, str]) -> bytes:
    shown = [grpc.AliasDescription(alias_name=alias, collection_name=target) for alias, target in aliases.items()]
    return _packed(grpc.ListAliasesResponse(aliases=shown))


def _done(*, result: bool) -> bytes:
    return _packed(grpc.CollectionOperationResponse(result=result))


def _packed(message: Any) -> bytes:
    packed: bytes = message.SerializeToString()
    return packed
