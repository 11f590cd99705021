"""Short ways to say what is declared and what was observed, for tests of pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from teal.domain.errors import TealError
from teal.domain.marks import Declared, Fence, Marks, Migration, Owner, Replaced
from teal.domain.observed import CollectionState, Observed, Version
from teal.domain.plan import Desired, Identity, Plan
from teal.domain.policy import View
from teal.domain.schema import UNNAMED, DenseVector, Distance, Schema, collection_name
from teal.domain.transitions import Stage
from tests.unit.domain.qdrant_model import HNSW, OPTIMIZERS

ALIAS = "docs"
ME = Identity("uid-1", "cluster-1", "search", "docs", ALIAS)
SOMEBODY = Identity("uid-2", "cluster-1", "other", "theirs", "theirs")
NOW = 1_000_000.0
DAY = 86_400.0


def dense(size: int = 4, distance: Distance = Distance.DOT, name: str = UNNAMED, **more: Any) -> DenseVector:
    return DenseVector(name, size, distance, **more)


def schema(*vectors: DenseVector, version: str = "v1", **more: Any) -> Schema:
    """By default one unnamed vector, 4 × Dot."""
    return Schema(vectors or (dense(),), schema_version=version, **more)


def desired(wanted: Schema | None = None, **more: Any) -> Desired:
    return Desired(**{"identity": ME, "alias": ALIAS, "schema": wanted or schema(), **more})


def name_of(wanted: Schema) -> str:
    return collection_name(ALIAS, wanted)


def owner(name: str, wanted: Schema, identity: Identity = ME, **more: Any) -> Owner:
    return Owner(
        identity.uid, identity.cluster, identity.namespace, identity.name, identity.alias,
        name, wanted.revision, wanted.schema_version, NOW - 10 * DAY, **more,
    )  # fmt: skip


def migration(stage: Stage, **more: Any) -> Migration:
    given = {"plan_hash": "p", "data_hash": "d", "source": None, "started_at": NOW - 9 * DAY, **more}
    return Migration(stage=stage, **given)


def state(
    wanted: Schema | None = None,
    stage: Stage = Stage.READY,
    *,
    name: str | None = None,
    identity: Identity | None = ME,
    replaced: float | None = None,
    fenced: bool = False,
    config: Mapping[str, Any] | None = None,
    indexes: Mapping[str, Any] | None = None,
    declared: Declared | None = None,
    points: int = 10,
    **more: Any,
) -> CollectionState:
    """A collection made for `wanted`, ours and serving unless said otherwise.

    `identity=None` is a collection without marks; `replaced` is when it stopped serving; `more` goes to its
    migration's mark.
    """
    wanted = wanted or schema()
    name = name or name_of(wanted)
    found = Marks()
    if identity:
        found = Marks(
            owner=owner(name, wanted, identity),
            migration=migration(stage, **more),
            replaced=Replaced("other", replaced) if replaced is not None else None,
            fence=Fence(NOW, enabled=False, write_rate_limit=None) if fenced else None,
            declared=declared or Declared(),
        )
    shown = replace(wanted, shard_number=wanted.shard_number or 1)
    if not identity:
        shown = replace(shown, schema_version="", model=None)
    return CollectionState(
        name, shown, config or config_of(wanted), dict(indexes or {}), "green", points, 0, 0, found
    )


def config_of(wanted: Schema, **sections: Any) -> dict[str, Any]:
    """The `config` of `GET /collections/{name}` with the server's defaults, `sections` on top."""
    vectors = {v.name: {"size": v.size, "distance": v.distance.value} for v in wanted.vectors}
    params: dict[str, Any] = {
        "vectors": vectors.get(UNNAMED, vectors),
        "shard_number": wanted.shard_number or 1,
        "replication_factor": 1,
        "write_consistency_factor": 1,
        "on_disk_payload": True,
    }
    if wanted.sparse:
        params["sparse_vectors"] = {name: {} for name in wanted.sparse}
    config = {
        "params": params,
        "hnsw_config": dict(HNSW),
        "optimizer_config": dict(OPTIMIZERS),
        "quantization_config": None,
    }
    return config | sections


def observed(
    *states: CollectionState, alias: str | None = None, names: tuple[str, ...] = (), **aliases: str
) -> Observed:
    """These collections, `alias` on one of them; `names` are further collections that nobody looked into."""
    if alias:
        aliases[ALIAS] = alias
    found = {each.name: each for each in states}
    return Observed(Version(1, 19, 0), frozenset({*found, *names}), aliases, found)


def metadata(name: str, wanted: Schema, **others: Any) -> dict[str, Any]:
    """The marks of a healthy collection as JSON, `others` (mark without its prefix) on top."""
    healthy = {
        Owner.KEY: owner(name, wanted).as_json(),
        Migration.KEY: migration(Stage.READY).as_json(),
    }
    return healthy | {f"teal.dev/{key.replace('_', '-')}": value for key, value in others.items()}


def planned(wanted: Desired, seen: Observed) -> Observed:
    """The same, where migrations whose mark names no plan of its own are those of the plan that is made now."""
    view = View(wanted, seen, NOW)
    try:
        plan = view.plan
    except TealError:
        return seen
    found = {name: _of_plan(each, plan) for name, each in seen.states.items()}
    return replace(seen, states=found)


def _of_plan(found: CollectionState, plan: Plan) -> CollectionState:
    mark = found.marks.migration
    if mark is None or (mark.plan_hash, mark.data_hash) != ("p", "d"):
        return found
    mark = replace(mark, plan_hash=plan.hash, data_hash=plan.data_hash)
    return replace(found, marks=replace(found.marks, migration=mark))
