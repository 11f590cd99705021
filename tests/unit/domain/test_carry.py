"""Green is at least as good as blue: what nobody declared comes along, what was declared wins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teal.domain.carry import UNLIMITED, create_body, effective
from teal.domain.marks import Declared
from teal.domain.schema import Datatype, Distance, Schema
from teal.domain.tuning import Tuning, difference
from tests.unit.domain.builders import config_of, dense, metadata, schema, state
from tests.unit.domain.qdrant_model import HNSW, Qdrant
from tests.unit.domain.specs import SCHEMAS, tunings
from tests.unit.domain.test_tuning import apply

QUANTIZED = {"scalar": {"type": "int8"}}


def carried(tuning: Tuning | None = None, wanted: Schema | None = None, **blue: Any) -> Tuning:
    """The tuning of a green for `wanted`, beside a blue of the default schema with `blue` in its configuration."""
    config = config_of(schema(), **blue)
    return effective(tuning or Tuning(), state(config=config), wanted or schema())


class TestEffective:
    def test_everything_that_blue_has_comes_along(self) -> None:
        found = carried(hnsw_config=HNSW | {"m": 64}, quantization_config=QUANTIZED)
        assert found.sections["hnsw_config"] == HNSW | {"m": 64}
        assert found.sections["quantization_config"] == QUANTIZED
        assert found.sections["params"] == {
            "replication_factor": 1,
            "write_consistency_factor": 1,
            "on_disk_payload": True,
        }

    def test_nulls_do_not(self) -> None:
        found = carried(hnsw_config={"m": 16, "payload_m": None}, optimizer_config={"memmap_threshold": None})
        assert found.sections["hnsw_config"] == {"m": 16}
        assert "optimizers_config" not in found.sections

    def test_what_is_declared_wins_value_by_value(self) -> None:
        tuning = Tuning({"hnsw_config": {"m": 32}, "strict_mode_config": {"max_query_limit": 5}})
        blue = {
            "hnsw_config": HNSW | {"ef_construct": 300},
            "strict_mode_config": {"enabled": True, "max_timeout": 9},
        }
        found = carried(tuning, **blue).sections
        assert found["hnsw_config"] == HNSW | {"m": 32, "ef_construct": 300}
        assert found["strict_mode_config"] == {"enabled": True, "max_timeout": 9, "max_query_limit": 5}

    def test_quantization_is_declared_whole(self) -> None:
        found = carried(Tuning({"quantization_config": {"binary": {}}}), quantization_config=QUANTIZED)
        assert found.sections["quantization_config"] == {"binary": {}}

    def test_what_teal_declared_and_the_spec_dropped_stays_behind(self) -> None:
        blue = state(
            config=config_of(schema(), quantization_config=QUANTIZED),
            declared=Declared(("dropped", "kept"), quantization=True),
            indexes={name: {"data_type": "uuid"} for name in ("dropped", "kept", "application")},
        )
        found = effective(Tuning(indexes={"kept": {"type": "keyword"}}), blue, schema())
        assert "quantization_config" not in found.sections
        assert found.indexes == {"application": {"type": "uuid"}, "kept": {"type": "keyword"}}

    def test_indexes_come_with_their_options(self) -> None:
        shown = {
            "data_type": "integer",
            "points": 8,
            "params": {"type": "integer", "lookup": False, "on_disk": None},
        }
        found = effective(Tuning(), state(indexes={"n": shown}), schema())
        assert found.indexes == {"n": {"type": "integer", "lookup": False}}

    @pytest.mark.parametrize(
        ("limits", "expected"),
        [
            (None, None),
            ({"enabled": False}, None),
            ({"enabled": False, "write_rate_limit": UNLIMITED}, None),
            ({"enabled": True, "write_rate_limit": UNLIMITED}, {"enabled": True}),
            ({"enabled": True, "write_rate_limit": 600}, {"enabled": True, "write_rate_limit": 600}),
            ({"enabled": False, "write_rate_limit": UNLIMITED, "max_timeout": 3}, {"max_timeout": 3}),
            ({"max_timeout": 3, "read_rate_limit": None}, {"max_timeout": 3}),
        ],
    )
    def test_a_fence_leaves_no_residue(self, limits: Any, expected: Any) -> None:
        assert carried(strict_mode_config=limits).sections.get("strict_mode_config") == expected

    def test_the_plan_is_the_same_before_and_after_a_fence(self) -> None:
        before, own = carried(strict_mode_config={"max_timeout": 3}), {"max_timeout": 3}
        lifted = carried(strict_mode_config=own | {"enabled": False, "write_rate_limit": UNLIMITED})
        assert lifted == before

    def test_vectors_that_left_the_schema_take_their_tuning_along(self) -> None:
        old = schema(dense(name="text"), dense(name="image"), sparse=("bm25", "splade"))
        config = config_of(old)
        config["params"]["vectors"] = {
            "text": {"size": 4, "distance": "Dot", "on_disk": True},
            "image": {"size": 4, "distance": "Dot", "on_disk": True, "hnsw_config": {"m": 4}},
        }
        config["params"]["sparse_vectors"] = {"bm25": {"modifier": "idf"}, "splade": {"index": {"on_disk": True}}}
        new = schema(dense(name="image"), sparse=("splade",))
        found = effective(Tuning(), state(old, config=config), new).sections
        assert found["vectors"] == {"image": {"on_disk": True, "hnsw_config": {"m": 4}}}
        assert found["sparse_vectors"] == {"splade": {"index": {"on_disk": True}}}


class TestCreateBody:
    @pytest.mark.parametrize(
        ("wanted", "vectors"),
        [
            (schema(), {"size": 4, "distance": "Dot"}),
            (schema(dense(name="a")), {"a": {"size": 4, "distance": "Dot"}}),
            (
                schema(dense(name="a"), dense(8, Distance.COSINE, "b")),
                {"a": {"size": 4, "distance": "Dot"}, "b": {"size": 8, "distance": "Cosine"}},
            ),
            (schema(dense(datatype=Datatype.FLOAT16)), {"size": 4, "distance": "Dot", "datatype": "float16"}),
            (schema(dense(datatype=Datatype.UINT8)), {"size": 4, "distance": "Dot", "datatype": "uint8"}),
            (
                schema(dense(multivector="max_sim")),
                {"size": 4, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}},
            ),
        ],
    )
    def test_vectors(self, wanted: Schema, vectors: Any) -> None:
        body = create_body(wanted, Tuning(), {}, defer=False)
        assert body == {"metadata": {}, "vectors": vectors}

    def test_everything(self) -> None:
        wanted = schema(sparse=("bm25", "plain"), shard_number=3, sharding_method="custom")
        tuning = Tuning(
            {
                "hnsw_config": {"m": 32},
                "optimizers_config": {"indexing_threshold": 5000},
                "quantization_config": QUANTIZED,
                "strict_mode_config": {"enabled": True},
                "params": {"replication_factor": 2, "on_disk_payload": False},
                "vectors": {"": {"on_disk": True}},
                "sparse_vectors": {"bm25": {"modifier": "idf"}},
            }
        )
        assert create_body(wanted, tuning, {"teal.dev/owner": {"uid": "u"}}, defer=False) == {
            "metadata": {"teal.dev/owner": {"uid": "u"}},
            "vectors": {"size": 4, "distance": "Dot", "on_disk": True},
            "sparse_vectors": {"bm25": {"modifier": "idf"}, "plain": {}},
            "shard_number": 3,
            "sharding_method": "custom",
            "hnsw_config": {"m": 32},
            "optimizers_config": {"indexing_threshold": 5000},
            "quantization_config": QUANTIZED,
            "strict_mode_config": {"enabled": True},
            "replication_factor": 2,
            "on_disk_payload": False,
        }

    @pytest.mark.parametrize(
        "declared", [{}, {"optimizers_config": {"indexing_threshold": 5000, "max_segment_size": 9}}]
    )
    def test_deferring_puts_off_the_index_and_nothing_else(self, declared: Any) -> None:
        tuning = Tuning(declared)
        now, later = (create_body(schema(), tuning, {}, defer=defer) for defer in (False, True))
        assert later["optimizers_config"]["indexing_threshold"] == 0
        others = {**now.get("optimizers_config", {}), "indexing_threshold": 0}
        assert later == now | {"optimizers_config": others}
        assert tuning.sections == declared, "the declaration itself is left alone"


@st.composite
def successions(draw: st.DrawFn) -> tuple[Schema, Tuning, Schema, Tuning]:
    """Blue's schema and tuning, and green's."""
    old, new = draw(st.sampled_from(SCHEMAS)), draw(st.sampled_from(SCHEMAS))
    return old, draw(tunings(old)), replace(new, schema_version="v2"), draw(tunings(new))


@settings(max_examples=60)
@given(successions())
def test_a_green_can_be_made_to_match_its_plan(case: tuple[Schema, Tuning, Schema, Tuning]) -> None:
    old, before, new, after = case
    server = Qdrant()
    server.create(
        "blue", create_body(old, before, metadata("blue", old, declared=before.declared().as_json()), defer=False)
    )
    for path, made in before.indexes.items():
        server.create_index("blue", path, made)

    wanted = effective(after, server.state("blue"), new)
    server.create("green", create_body(new, wanted, metadata("green", new), defer=True))
    apply(server, "green", difference(wanted, server.state("green")))

    assert not difference(wanted, server.state("green"))
    assert not difference(after, server.state("green")), "what is declared is among it"
    assert effective(after, server.state("blue"), new) == wanted, "looking twice gives the same plan"
    assert server.collections["green"].indexes.keys() == after.indexes.keys(), "Teal's own older ones stay behind"
