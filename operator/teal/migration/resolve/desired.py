"""From the two resources to what the planner and the steps need: the only place that knows both sets of names.

Kubernetes' camelCase becomes Qdrant's own names; durations become seconds. Only what the spec declares is
carried over, so that an undeclared value stays Qdrant's or the application's business.
"""

from __future__ import annotations

from typing import Any

from teal.api.embedding_set import EmbeddingSetSpec
from teal.api.migration import HookSpec as ApiHook
from teal.api.migration import Watch
from teal.api.model import Model
from teal.api.parameters import DenseVectorSpec as ApiDenseVector
from teal.api.parameters import Quantization, SparseVector
from teal.api.payload_index import PayloadIndex
from teal.api.vector_collection import VectorCollectionSpec
from teal.domain.actions import Asked
from teal.domain.errors import TerminalError
from teal.domain.marks import Encoder
from teal.domain.plan import Desired, Identity
from teal.domain.schema import Datatype, DenseVector, Distance, Schema
from teal.domain.tuning import Tuning
from teal.domain.watching import WatchLimits
from teal.domain.windows import Window, first_problem
from teal.domain.writes import WriteMode
from teal.migration.contract import Resource
from teal.migration.options import BoundedQuery, Hook, Options

QUANTIZATION_KINDS = ("scalar", "product", "binary")


def desired(resource: Resource, cluster: str) -> Desired:
    """What `resource` wants.

    Raises:
        TerminalError: reason `EmbeddingSetNotFound`, when it refers to one that is not there.
    """
    spec = resource.manifest.spec
    embedding_set = _embedding_set(resource)
    encoding = spec.encoding(embedding_set)
    schema = Schema(
        vectors=tuple(_dense(vector) for vector in encoding.vectors),
        sparse=tuple(vector.name for vector in spec.sparse_vectors),
        shard_number=spec.shard_number,
        schema_version=encoding.schema_version,
        model=encoding.model,
    )
    return Desired(
        identity=Identity(resource.uid, cluster, resource.namespace, resource.name, resource.manifest.alias),
        alias=resource.manifest.alias,
        schema=schema,
        tuning=Tuning(_sections(spec, encoding.vectors), {i.field: _index(i) for i in spec.payload_indexes}),
        encoder=_encoder(schema, embedding_set),
        has_embedder=embedding_set is not None and embedding_set.embedder is not None,
        text_field=embedding_set.text_field if embedding_set else None,
        adopt=spec.adopt.collection if spec.adopt else None,
        strategy=spec.migration.strategy,
        dual_write=spec.migration.writes == "DualWrite",
        accept_normalised=spec.migration.allow_normalized,
        keep_for=spec.retention.keep_for.total_seconds(),
        asked=Asked.read(resource.annotations),
    )


def options(resource: Resource) -> Options:
    """How `resource` wants to be migrated; `check_windows` has accepted its windows."""
    spec = resource.manifest.spec
    migration = spec.migration
    embedder = resource.embedding_set.spec.embedder if resource.embedding_set else None
    budget = embedder.budget if embedder else None
    return Options(
        parallelism=migration.parallelism,
        embedding_batch=embedder.open_ai.batch_size if embedder else Options.embedding_batch,
        change_field=migration.change_field.name if migration.change_field else None,
        trust_change_field=bool(migration.change_field and migration.change_field.trusted),
        writes=WriteMode(migration.writes),
        max_read_latency=migration.throttle.max_read_latency_millis / 1000,
        fence=migration.promotion.fence == "WhenBusy",
        quiet_wait=migration.promotion.quiet_wait.total_seconds(),
        max_stall=migration.promotion.max_stall.total_seconds(),
        max_fence=migration.promotion.max_fence.total_seconds(),
        min_coverage=spec.verification.min_coverage,
        sample=spec.verification.sample,
        min_overlap=spec.verification.min_overlap,
        min_recall=spec.verification.golden_queries.min_recall if spec.verification.golden_queries else None,
        max_latency_ratio=spec.verification.max_latency_ratio,
        manual=migration.promotion.mode == "Manual",
        windows=_windows(spec),
        before_switch=_hook(migration.hooks.before_switch if migration.hooks else None),
        after_switch=_hook(migration.hooks.after_switch if migration.hooks else None),
        watch=_rules(spec.watch),
        prometheus=spec.watch.prometheus.url if spec.watch.prometheus else None,
        queries=_queries(spec.watch),
        snapshot=spec.retention.snapshot,
        delete_adopted=spec.retention.delete_adopted,
        max_tokens=budget.max_tokens if budget else None,
    )


def check_windows(spec: VectorCollectionSpec) -> None:
    """Refuse windows that can never open.

    Raises:
        TerminalError: reason `InvalidWindow`: a schedule or time zone does not exist; the message has its path.
    """
    problem = first_problem(_windows(spec))
    if problem:
        raise TerminalError("InvalidWindow", f"spec.migration.promotion.windows{problem}.")


def _windows(spec: VectorCollectionSpec) -> tuple[Window, ...]:
    given = spec.migration.promotion.windows
    return tuple(Window(each.schedule, each.duration.total_seconds(), each.time_zone) for each in given)


def _hook(hook: ApiHook | None) -> Hook | None:
    return Hook(hook.url, hook.timeout.total_seconds(), hook.retries) if hook else None


def _rules(watch: Watch) -> WatchLimits:
    return WatchLimits(
        watch.duration.total_seconds(),
        watch.interval.total_seconds(),
        watch.max_latency_ratio,
        watch.max_error_rate,
    )


def _queries(watch: Watch) -> tuple[BoundedQuery, ...]:
    given = watch.prometheus.queries if watch.prometheus else ()
    return tuple(BoundedQuery(each.name, each.query, each.min, each.max) for each in given)


def _embedding_set(resource: Resource) -> EmbeddingSetSpec | None:
    reference = resource.manifest.spec.embedding_set_ref
    if reference is None:
        return None
    if resource.embedding_set is None:
        raise TerminalError(
            "EmbeddingSetNotFound",
            f"spec.embeddingSetRef names {reference.name!r}, but namespace {resource.namespace!r} has no "
            "EmbeddingSet of that name. Apply it, or correct the name.",
        )
    return resource.embedding_set.spec


def _encoder(schema: Schema, embedding_set: EmbeddingSetSpec | None) -> Encoder | None:
    """The encoder mark, which clients read; `None` without a model."""
    if schema.main is None or schema.model is None:
        return None
    url = embedding_set.embedder.open_ai.url if embedding_set and embedding_set.embedder else None
    return Encoder(schema.model, schema.schema_version, schema.main.size, url)


def _dense(vector: ApiDenseVector) -> DenseVector:
    return DenseVector(
        vector.name,
        vector.dimensions,
        Distance(vector.distance),
        Datatype(vector.datatype),
        vector.multivector.comparator if vector.multivector else None,
    )


def _sections(spec: VectorCollectionSpec, vectors: tuple[ApiDenseVector, ...]) -> dict[str, Any]:
    sections = {
        "hnsw_config": declared(spec.hnsw),
        "optimizers_config": declared(spec.optimizers),
        "strict_mode_config": declared(spec.strict_mode),
        "quantization_config": _quantization(spec.quantization),
        "params": _without_absent(
            replication_factor=spec.replication_factor,
            write_consistency_factor=spec.write_consistency_factor,
            on_disk_payload=spec.on_disk_payload,
        ),
        "vectors": _nonempty({vector.name: _vector_tuning(vector) for vector in vectors}),
        "sparse_vectors": _nonempty({vector.name: _sparse_tuning(vector) for vector in spec.sparse_vectors}),
    }
    return _nonempty(sections)


def _vector_tuning(vector: ApiDenseVector) -> dict[str, Any]:
    return _nonempty(
        _without_absent(
            hnsw_config=declared(vector.hnsw),
            quantization_config=_quantization(vector.quantization),
            on_disk=vector.on_disk,
        )
    )


def _sparse_tuning(vector: SparseVector) -> dict[str, Any]:
    index = declared(vector.index)
    if "datatype" in index:
        index["datatype"] = index["datatype"].lower()
    modifier = vector.modifier.lower() if vector.modifier != "None" else None
    return _nonempty(_without_absent(modifier=modifier, index=index))


def _quantization(value: Quantization | None) -> dict[str, Any]:
    if value is None:
        return {}
    return {k: declared(getattr(value, k)) for k in QUANTIZATION_KINDS if getattr(value, k) is not None}


def _index(index: PayloadIndex) -> dict[str, Any]:
    options = declared(index)
    del options["field"]
    return options


def declared(model: Model | None) -> dict[str, Any]:
    """The fields that the spec sets, under Qdrant's names (our own are the same in snake_case)."""
    return model.model_dump(mode="json", by_alias=False, exclude_none=True) if model else {}


def _without_absent(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _nonempty(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value != {}}
