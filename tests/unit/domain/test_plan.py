"""Which points a new revision gets, why it is needed, and what its hash stands for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teal.domain.actions import Asked
from teal.domain.errors import TerminalError
from teal.domain.marks import Encoder
from teal.domain.plan import (
    Desired,
    Plan,
    Population,
    Reason,
    Strategy,
    choose_population,
    make_plan,
    rollback_population,
    schema_reasons,
)
from teal.domain.schema import Datatype, Distance, Schema
from teal.domain.tuning import Tuning
from tests.unit.domain.builders import config_of, dense, desired, name_of, schema, state
from tests.unit.domain.specs import SCHEMAS, tunings

COSINE = dense(distance=Distance.COSINE)
EMBEDDER = {"has_embedder": True, "text_field": "text"}

POPULATIONS: dict[str, tuple[Schema, Schema, dict[str, Any], Population | str]] = {
    "another distance": (schema(), schema(dense(distance=Distance.EUCLID)), {}, Population.COPY),
    "into cosine": (schema(), schema(COSINE), {}, Population.COPY),
    "out of cosine": (schema(COSINE), schema(), {}, "MagnitudesLost"),
    "out of cosine, lengths are 1": (schema(COSINE), schema(), {"accept_normalised": True}, Population.COPY),
    "out of cosine, same version": (schema(COSINE), schema(), EMBEDDER, "MagnitudesLost"),
    "out of cosine, embedded anew": (schema(COSINE), schema(version="v2"), EMBEDDER, Population.REEMBED),
    "more shards": (schema(shard_number=1), schema(shard_number=4), {}, Population.COPY),
    "another version, same vectors": (schema(), schema(version="v2"), {}, Population.COPY),
    "another version and an embedder": (schema(), schema(version="v2"), EMBEDDER, Population.REEMBED),
    "same version and an embedder": (schema(), schema(COSINE), EMBEDDER, Population.COPY),
    "another model": (schema(model="a"), schema(model="b"), EMBEDDER, Population.REEMBED),
    "another model, no embedder": (schema(model="a"), schema(model="b"), {}, "EmbedderRequired"),
    "the model is said for the first time": (schema(), schema(model="a"), EMBEDDER, Population.COPY),
    "the model is not said any more": (schema(model="a"), schema(), {}, Population.COPY),
    "another size": (schema(), schema(dense(8)), EMBEDDER, Population.REEMBED),
    "another size, no embedder": (schema(), schema(dense(8)), {}, "EmbedderRequired"),
    "another size, no text": (schema(), schema(dense(8)), {"has_embedder": True}, "EmbedderRequired"),
    "another size of one of two": (
        schema(dense(name="a"), dense(name="b")), schema(dense(name="a"), dense(8, name="b")), EMBEDDER,
        "EmbedderRequired",
    ),
    "a narrower datatype": (schema(), schema(dense(datatype=Datatype.UINT8)), {}, Population.COPY),
    "a vector less": (schema(dense(name="a"), dense(name="b")), schema(dense(name="a")), {}, Population.COPY),
    "a vector more": (schema(dense(name="a")), schema(dense(name="a"), dense(name="b")), {}, "VectorHasNoSource"),
    "a name for the unnamed vector": (schema(), schema(dense(name="a")), {}, "VectorHasNoSource"),
    "a sparse vector less": (schema(sparse=("s",)), schema(), {}, Population.COPY),
    "a sparse vector more": (schema(), schema(sparse=("s",)), {}, "VectorHasNoSource"),
    "a sparse vector more, embedded anew": (
        schema(), schema(version="v2", sparse=("s",)), EMBEDDER, "VectorHasNoSource",
    ),
    "a sparse vector kept, embedded anew": (
        schema(sparse=("s",)), schema(version="v2", sparse=("s",)), EMBEDDER, Population.REEMBED,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "given_", "expected"), POPULATIONS.values(), ids=POPULATIONS)
def test_where_the_points_come_from(old: Schema, new: Schema, given_: Any, expected: Population | str) -> None:
    wanted, serving = desired(new, **given_), state(old)
    if isinstance(expected, Population):
        assert choose_population(wanted, serving) is expected
        assert make_plan(wanted, serving).population is expected
    else:
        with pytest.raises(TerminalError) as refused:
            make_plan(wanted, serving)
        assert refused.value.reason == expected


@pytest.mark.parametrize(("old", "new", "given_", "expected"), POPULATIONS.values(), ids=POPULATIONS)
def test_going_back_is_never_refused(old: Schema, new: Schema, given_: Any, expected: Population | str) -> None:
    """`new` is retained, `old` serves."""
    wanted, serving = desired(new, **given_), state(old)
    plan = make_plan(wanted, serving, target="retained", strategy=Strategy.ROLLBACK)
    assert (plan.strategy, plan.target, plan.source) == (Strategy.ROLLBACK, "retained", serving.name)
    if isinstance(expected, Population):
        assert plan.population is expected


BACK: dict[str, tuple[Schema, Schema, dict[str, Any], Population, str]] = {
    "the same encoder": (schema(), schema(COSINE), {}, Population.COPY, ""),
    "another version of vectors that nobody names": (schema(version="v2"), schema(), {}, Population.COPY, ""),
    "a model that was said later": (schema(model="a"), schema(), {}, Population.COPY, ""),
    "out of cosine": (schema(COSINE), schema(), {}, Population.COPY, "normalised"),
    "another size": (schema(dense(8)), schema(), {}, Population.NONE, "are not copied back"),
    "another size and an embedder": (schema(dense(8)), schema(), EMBEDDER, Population.REEMBED, ""),
    "another model": (schema(model="b"), schema(model="a"), {}, Population.NONE, "are not copied back"),
    "before any model": (schema(version="v2", model="b"), schema(), {}, Population.NONE, "are not copied back"),
}


@pytest.mark.parametrize(("serving", "retained", "given_", "population", "cost"), BACK.values(), ids=BACK)
def test_what_going_back_takes_along(
    serving: Schema, retained: Schema, given_: Any, population: Population, cost: str
) -> None:
    """Vectors of two encoders never meet in one collection; what is lost by that is said."""
    found, warnings = rollback_population(desired(retained, **given_), state(serving))
    assert found is population
    assert [cost in warning for warning in warnings] == ([True] if cost else [])


BEFORE = schema(dense(384, Distance.COSINE), shard_number=2, model="a", sparse=("s",))
REASONS: dict[str, tuple[Schema, list[str]]] = {
    "nothing": (BEFORE, []),
    "version": (replace(BEFORE, schema_version="v2"), ["schemaVersion: v1 → v2"]),
    "model": (replace(BEFORE, model="b"), ["model: a → b"]),
    "model unsaid": (replace(BEFORE, model=None), ["model: a → None"]),
    "shards": (replace(BEFORE, shard_number=4), ["shardNumber: 2 → 4"]),
    "shards left to Qdrant": (replace(BEFORE, shard_number=None), []),
    "sharding": (replace(BEFORE, sharding_method="custom"), ["shardingMethod: auto → custom"]),
    "size": (replace(BEFORE, vectors=(dense(768, Distance.COSINE),)), ["dimensions: 384 → 768"]),
    "distance": (replace(BEFORE, vectors=(dense(384),)), ["distance: Cosine → Dot"]),
    "datatype": (
        replace(BEFORE, vectors=(dense(384, Distance.COSINE, datatype=Datatype.FLOAT16),)),
        ["datatype: Float32 → Float16"],
    ),
    "multivector": (
        replace(BEFORE, vectors=(dense(384, Distance.COSINE, multivector="max_sim"),)),
        ["multivector: None → max_sim"],
    ),
    "named": (
        replace(BEFORE, vectors=(dense(384, Distance.COSINE, "text"),)),
        ["vectors: 384 Cosine → None", "vectors[text]: None → 384 Cosine"],
    ),
    "sparse": (replace(BEFORE, sparse=("s", "t")), ["sparseVectors: ['s'] → ['s', 't']"]),
    "several": (
        replace(BEFORE, schema_version="v2", vectors=(dense(768, Distance.COSINE),)),
        ["schemaVersion: v1 → v2", "dimensions: 384 → 768"],
    ),
}


@pytest.mark.parametrize(("after", "expected"), REASONS.values(), ids=REASONS)
def test_why_a_new_collection_is_needed(after: Schema, expected: list[str]) -> None:
    assert [str(reason) for reason in schema_reasons(BEFORE, after)] == expected


def test_there_is_always_a_reason() -> None:
    old, new = schema(shard_number=2), schema()
    assert make_plan(desired(new), state(old)).reasons == (Reason("revision", old.revision, new.revision),)


@pytest.mark.parametrize(
    ("before", "after", "warning"),
    [
        (Datatype.FLOAT32, Datatype.FLOAT32, None),
        (Datatype.FLOAT32, Datatype.FLOAT16, "Float16 stores vectors with less precision than Float32"),
        (Datatype.FLOAT16, Datatype.UINT8, "Uint8 stores vectors with less precision than Float16"),
        (Datatype.UINT8, Datatype.FLOAT32, "Float32 cannot restore the precision that Uint8 lost"),
    ],
)
def test_a_change_of_datatype_warns(before: Datatype, after: Datatype, warning: str | None) -> None:
    wanted = desired(schema(dense(datatype=after), version="v2"))
    plan = make_plan(wanted, state(schema(dense(datatype=before))))
    assert plan.warnings == ((warning,) if warning else ())


def test_vectors_made_anew_lose_nothing_by_their_datatype() -> None:
    wanted = desired(schema(dense(datatype=Datatype.UINT8), version="v2"), **EMBEDDER)
    assert make_plan(wanted, state()).warnings == ()


class TestPlans:
    def test_the_first_revision(self) -> None:
        tuning = Tuning({"hnsw_config": {"m": 8}})
        plan = make_plan(desired(tuning=tuning, **EMBEDDER), None)
        assert (plan.strategy, plan.source, plan.population) == (Strategy.CREATE, None, Population.NONE)
        assert (plan.target, plan.tuning, plan.text_field) == (name_of(schema()), tuning, None)

    def test_blue_green(self) -> None:
        plan = make_plan(desired(schema(version="v2"), text_field="text"), state())
        assert (plan.strategy, plan.source, plan.target) == (
            Strategy.BLUE_GREEN,
            name_of(schema()),
            name_of(schema(version="v2")),
        )
        assert plan.text_field is None, "copying reads no text"

    def test_re_embedding_names_its_text(self) -> None:
        assert make_plan(desired(schema(version="v2"), **EMBEDDER), state()).text_field == "text"

    def test_green_inherits(self) -> None:
        plan = make_plan(desired(schema(version="v2")), state(config=config_of(schema(), hnsw_config={"m": 99})))
        assert plan.tuning.sections["hnsw_config"] == {"m": 99}


class TestHash:
    """A hash is an approval: what it stands for must not change under it, and nothing else may void it."""

    def plan(self, wanted: Desired | None = None, **blue: Any) -> Plan:
        return make_plan(wanted or desired(schema(version="v2")), state(**blue))

    def test_it_is_short_and_stable(self) -> None:
        assert self.plan().hash == self.plan().hash
        assert len(self.plan().hash) == len(self.plan().data_hash) == 12

    @pytest.mark.parametrize(
        "other",
        [
            desired(schema(version="v3")),
            desired(schema(dense(distance=Distance.COSINE), version="v2")),
            desired(schema(version="v2"), tuning=Tuning({"hnsw_config": {"m": 8}})),
            desired(schema(version="v2"), tuning=Tuning(indexes={"a": {"type": "uuid"}})),
            desired(schema(version="v2"), **EMBEDDER),
        ],
    )
    def test_it_changes_with_the_outcome(self, other: Desired) -> None:
        assert self.plan(other).hash != self.plan().hash

    @pytest.mark.parametrize(
        "same",
        [
            {"keep_for": 5.0},
            {"asked": Asked(retry="p-1")},
            {"adopt": "legacy"},
            {"accept_normalised": True},
            {"text_field": "text"},
            {"encoder": Encoder("m", "v2", 4, "http://elsewhere")},
        ],
    )
    def test_it_does_not_change_with_anything_else(self, same: dict[str, Any]) -> None:
        assert self.plan(desired(schema(version="v2"), **same)).hash == self.plan().hash

    def test_it_changes_with_blue(self) -> None:
        wanted = desired(schema(version="v2"))
        assert self.plan(name="docs-other").data_hash != self.plan().data_hash
        assert self.plan(wanted, indexes={"a": {"data_type": "uuid"}}).hash != self.plan(wanted).hash

    def test_but_not_with_what_goes_on_in_blue(self) -> None:
        busy = self.plan(points=99, indexes={"a": {"data_type": "uuid", "points": 99}})
        assert busy.hash == self.plan(points=1, indexes={"a": {"data_type": "uuid", "points": 1}}).hash

    def test_the_text_decides_the_points(self) -> None:
        one, other = (desired(schema(version="v2"), has_embedder=True, text_field=f) for f in ("title", "body"))
        assert self.plan(one).data_hash != self.plan(other).data_hash

    @settings(max_examples=50)
    @given(tunings(SCHEMAS[0]), tunings(SCHEMAS[0]))
    def test_tuning_moves_the_hash_but_never_the_points(self, one: Tuning, other: Tuning) -> None:
        plans = [self.plan(desired(schema(version="v2"), tuning=tuning)) for tuning in (one, other)]
        assert plans[0].data_hash == plans[1].data_hash
        assert (plans[0].hash == plans[1].hash) == (plans[0].tuning == plans[1].tuning)

    @settings(max_examples=50)
    @given(st.randoms(), tunings(SCHEMAS[0]))
    def test_the_order_of_fields_is_nothing(self, random: Any, tuning: Tuning) -> None:
        keys = list(tuning.sections)
        random.shuffle(keys)
        paths = list(tuning.indexes)[::-1]
        shuffled = Tuning({k: tuning.sections[k] for k in keys}, {p: tuning.indexes[p] for p in paths})
        one, other = (desired(schema(version="v2"), tuning=each) for each in (tuning, shuffled))
        assert self.plan(one).hash == self.plan(other).hash


def test_tuning_is_no_part_of_the_revision() -> None:
    tuned = desired(tuning=Tuning({"hnsw_config": {"m": 64}}, {"a": {"type": "uuid"}}))
    assert tuned.schema.revision == desired().schema.revision
    assert tuned.target == desired().target
