"""Hypothesis strategies for whole Qdrants: what years of migrations, crashes and helping hands leave behind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from teal.domain.carry import create_body
from teal.domain.marks import Declared, Encoder, Fence, Migration, Owner, Replaced
from teal.domain.ownership import ours
from teal.domain.plan import Desired, Identity, make_plan
from teal.domain.schema import Distance, Schema
from teal.domain.transitions import HAS_SERVED, Stage
from teal.domain.tuning import Tuning
from tests.unit.domain.builders import (
    ALIAS,
    DAY,
    ME,
    NOW,
    SOMEBODY,
    dense,
    desired,
    migration,
    name_of,
    owner,
    schema,
    state,
)
from tests.unit.domain.qdrant_model import Qdrant

OLD_ME = replace(ME, uid="uid-0")
"""The same resource before it was deleted and applied again."""

SIZES = {"small": 4, "large": 6}
"""The embedder's models, and how long their vectors are."""
ENCODERS = "http://encoders/v1"


def revision(model: str, version: str, distance: Distance = Distance.DOT, **more: Any) -> Schema:
    return schema(dense(SIZES[model], distance), version=version, model=model, **more)


REVISIONS = (
    revision("small", "v1"),
    revision("small", "v1", Distance.COSINE),
    revision("small", "v1", shard_number=2),
    revision("small", "v2"),
    revision("large", "v2"),
)
"""Each can be made from each other: there is an embedder, and lengths are known to be 1."""

TUNINGS = (
    Tuning(),
    Tuning({"hnsw_config": {"m": 32}}),
    Tuning({"quantization_config": {"binary": {}}}, {"tenant": {"type": "keyword", "is_tenant": True}}),
)
LEGACY = "legacy"
POINTS = dict.fromkeys(range(1, 13), 0)
STAGES = sorted(set(Stage) - {Stage.PROVISIONING})


def encoder(wanted: Schema) -> Encoder:
    return Encoder(str(wanted.model), wanted.schema_version, wanted.vectors[0].size, ENCODERS)


def declared(wanted: Schema, **more: Any) -> Desired:
    given = {"has_embedder": True, "text_field": "text", "accept_normalised": True, "encoder": encoder(wanted)}
    return desired(wanted, **given, **more)


declarations = st.builds(
    declared,
    st.sampled_from(REVISIONS),
    tuning=st.sampled_from(TUNINGS),
    adopt=st.sampled_from([None, None, LEGACY]),
    keep_for=st.sampled_from([0.0, DAY]),
)


@dataclass(frozen=True)
class Resident:
    """A collection to begin with.

    `replaced_for`: since when it does not serve, in seconds. `edited`: its migration was begun with other settings
    than its own.
    """

    name: str
    revision: Schema
    identity: Identity | None
    stage: Stage
    source: Schema | None
    replaced_for: float | None
    fenced: bool
    filled: int
    tuning: Tuning
    edited: bool

    @property
    def finished(self) -> bool:
        return self.stage in HAS_SERVED or self.stage is Stage.PROMOTING


NAMES = [*(name_of(each) for each in REVISIONS), LEGACY, f"{ALIAS}-v2-other", "unrelated"]


@st.composite
def residents(draw: st.DrawFn) -> Resident:
    name = draw(st.sampled_from(NAMES))
    by_name = {name_of(each): each for each in REVISIONS}
    revision = by_name.get(name) or draw(st.sampled_from(REVISIONS))
    identities = [None, SOMEBODY]
    if name in by_name:
        identities += [*(ME for _ in range(8)), OLD_ME, OLD_ME]
    if name == LEGACY:
        identities += [None, None, ME, ME]
    stage = draw(st.sampled_from(STAGES))
    if name == LEGACY:
        stage = draw(st.sampled_from(sorted(HAS_SERVED)))
    return Resident(
        name,
        revision,
        draw(st.sampled_from(identities)),
        stage,
        draw(st.none() | st.sampled_from(REVISIONS)),
        draw(st.none() | st.sampled_from([0.0, DAY / 2, 2 * DAY])) if stage in HAS_SERVED else None,
        draw(st.booleans()) and stage in HAS_SERVED,
        draw(st.integers(0, len(POINTS))),
        draw(st.sampled_from(TUNINGS)),
        draw(st.booleans()),
    )


@st.composite
def worlds(draw: st.DrawFn, now: float = NOW) -> Qdrant:
    """Some residents, and aliases wherever somebody may have put them."""
    server = Qdrant()
    found = draw(st.lists(residents(), max_size=5, unique_by=lambda r: r.name))
    served = [each.name for each in found if each.identity in (ME, OLD_ME) and each.finished]
    last = draw(st.sampled_from([*served, "gone"]))
    for each in found:
        settle(server, each, now, last if each.name != last else "gone")
    if server.collections:
        somewhere = st.sampled_from(sorted(server.collections))
        own = [name for name in server.collections if ours(server.state(name), ME)]
        aliases = st.sampled_from([f"{ALIAS}-next", f"{ALIAS}-v1", f"{ALIAS}-v2", "theirs"])
        server.aliases.update(draw(st.dictionaries(aliases, somewhere, max_size=3)))
        if draw(st.integers(0, 4)) and (own or not draw(st.integers(0, 4))):
            likely = [*own, *(name for name in own if name == last)]
            server.aliases[ALIAS] = draw(st.sampled_from(likely) if likely else somewhere)
    return server


def settle(server: Qdrant, each: Resident, now: float, by: str) -> None:
    """Create it as it would have come to be, and perhaps replaced by another one since.

    What has served holds all points, anything else some of them.
    """
    metadata = {}
    if each.identity:
        plan = make_plan(declared(each.revision, tuning=each.tuning), state(each.source) if each.source else None)
        begun = migration(
            each.stage, plan_hash="p" if each.edited else plan.hash, data_hash=plan.data_hash, source=plan.source,
            started_at=now - 9 * DAY, stage_since=now - 8 * DAY,
        )  # fmt: skip
        metadata = {
            Owner.KEY: owner(each.name, each.revision, each.identity).as_json(),
            Migration.KEY: begun.as_json(),
            Declared.KEY: each.tuning.declared().as_json(),
            Encoder.KEY: encoder(each.revision).as_json(),
        }
        if each.replaced_for is not None:
            metadata[Replaced.KEY] = Replaced(by, now - each.replaced_for).as_json()
        if each.fenced:
            metadata[Fence.KEY] = Fence(now, enabled=False, write_rate_limit=None).as_json()
    server.create(each.name, create_body(each.revision, each.tuning, metadata, defer=False))
    if each.identity and each.fenced:
        server.patch(each.name, {"strict_mode_config": {"enabled": True, "write_rate_limit": 1}})
    for path, index in each.tuning.indexes.items():
        server.create_index(each.name, path, index)
    filled = len(POINTS) if each.finished or not each.identity else each.filled
    server.collections[each.name].points = dict(list(POINTS.items())[:filled])
