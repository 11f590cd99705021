"""What differs is exactly what is declared and not so; applying the difference leaves none."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teal.domain.carry import create_body
from teal.domain.marks import Declared
from teal.domain.schema import Schema
from teal.domain.tuning import Change, InPlace, Tuning, describe_index, difference, index_equal, named_vectors
from tests.unit.domain.builders import config_of, dense, metadata, schema, state
from tests.unit.domain.qdrant_model import Qdrant
from tests.unit.domain.specs import SCHEMAS, index, tunings

QUANTIZED = {"scalar": {"type": "int8", "quantile": 0.99}}
AS_F32 = {"optimizer_config": {"deleted_threshold": 0.20000000298}}


def shown(kind: str, **params: Any) -> dict[str, Any]:
    """An entry of `payload_schema` of an index that was made with options."""
    return {"data_type": kind, "points": 3, "params": {"type": kind, **params}}


def changes(section: str, wanted: Any, **config: Any) -> list[str]:
    """The paths that differ when `section` is declared so and the rest of the configuration is the default."""
    found = state(config=config_of(schema(), **config))
    return [change.path for change in difference(Tuning({section: wanted}), found).changes]


@pytest.mark.parametrize(
    ("section", "wanted", "config", "expected"),
    [
        ("hnsw_config", {"m": 16}, {}, []),
        ("hnsw_config", {"m": 32, "ef_construct": 100}, {}, ["hnsw_config.m"]),
        ("hnsw_config", {"m": 0}, {}, ["hnsw_config.m"]),
        ("hnsw_config", {"payload_m": 8}, {}, ["hnsw_config.payload_m"]),
        ("hnsw_config", {"on_disk": False}, {}, []),
        ("hnsw_config", {"on_disk": True}, {}, ["hnsw_config.on_disk"]),
        ("optimizers_config", {"deleted_threshold": 0.2}, AS_F32, []),
        ("optimizers_config", {"deleted_threshold": 1.0}, {"optimizer_config": {"deleted_threshold": 1}}, []),
        ("optimizers_config", {"deleted_threshold": 0.21}, {}, ["optimizers_config.deleted_threshold"]),
        ("optimizers_config", {"max_segment_size": 5}, {}, ["optimizers_config.max_segment_size"]),
        ("optimizers_config", {"indexing_threshold": 0}, {}, ["optimizers_config.indexing_threshold"]),
        ("params", {"replication_factor": 1, "on_disk_payload": True}, {}, []),
        ("params", {"on_disk_payload": False}, {}, ["params.on_disk_payload"]),
        ("params", {"write_consistency_factor": 2}, {}, ["params.write_consistency_factor"]),
        ("quantization_config", QUANTIZED, {"quantization_config": dict(QUANTIZED)}, []),
        ("quantization_config", QUANTIZED, {}, ["quantization_config"]),
        ("quantization_config", {"binary": {}}, {}, ["quantization_config"]),
        ("quantization_config", {"binary": {}}, {"quantization_config": {"binary": {"always_ram": True}}}, []),
        ("quantization_config", {"binary": {}}, {"quantization_config": QUANTIZED}, ["quantization_config"]),
        (
            "quantization_config",
            {"scalar": {"type": "int8", "quantile": 0.5}},
            {"quantization_config": QUANTIZED},
            ["quantization_config"],
        ),
        ("vectors", {"": {"on_disk": True}}, {}, ["vectors..on_disk"]),
        ("vectors", {"": {"hnsw_config": {"m": 4}}}, {}, ["vectors..hnsw_config.m"]),
        ("vectors", {"": {"quantization_config": QUANTIZED}}, {}, ["vectors..quantization_config"]),
    ],
)  # fmt: skip
def test_a_difference_in_each_section(section: str, wanted: Any, config: Any, expected: list[str]) -> None:
    assert changes(section, wanted, **config) == expected


@pytest.mark.parametrize(
    ("section", "wanted"),
    [
        ("strict_mode_config", {"search_allow_exact": False}),
        ("strict_mode_config", {"unindexed_filtering_update": False}),
        ("strict_mode_config", {"enabled": False}),
        ("vectors", {"": {"on_disk": False}}),
        ("vectors", {"": {"hnsw_config": {"on_disk": False}}}),
    ],
)
def test_false_is_not_unset(section: str, wanted: Any) -> None:
    """Unset means allowed in strict mode, and the collection's own value in a vector's HNSW."""
    assert changes(section, wanted)


def test_a_named_vector_and_a_sparse_one() -> None:
    wanted = schema(dense(name="text"), dense(name="image"), sparse=("bm25",))
    tuning = Tuning({"vectors": {"text": {"on_disk": True}}, "sparse_vectors": {"bm25": {"modifier": "idf"}}})
    found = difference(tuning, state(wanted, config=config_of(wanted)))
    assert [change.path for change in found.changes] == ["vectors.text.on_disk", "sparse_vectors.bm25.modifier"]
    assert found.patch == tuning.sections


def test_the_patch_has_only_the_sections_that_differ() -> None:
    found = difference(Tuning({"hnsw_config": {"m": 32}, "params": {"replication_factor": 1}}), state())
    assert found.patch == {"hnsw_config": {"m": 32}}
    assert found.changes == (Change("hnsw_config.m", 16, 32),)
    assert str(found.changes[0]) == "hnsw_config.m: 16 → 32"


def test_nothing_declared_is_nothing_to_do() -> None:
    found = difference(Tuning(), state(config=config_of(schema(), quantization_config=QUANTIZED)))
    assert found == InPlace()
    assert not found


class TestLeavingTheSpec:
    def test_quantization_that_was_declared_is_taken_away(self) -> None:
        config = config_of(schema(), quantization_config=QUANTIZED)
        found = difference(Tuning(), state(config=config, declared=Declared(quantization=True)))
        assert found.patch == {"quantization_config": "Disabled"}
        assert found.changes == (Change("quantization_config", QUANTIZED, "Disabled"),)

    @pytest.mark.parametrize("declared", [{}, {"quantization": False}])
    def test_quantization_that_the_application_set_stays(self, declared: Any) -> None:
        config = config_of(schema(), quantization_config=QUANTIZED)
        assert not difference(Tuning(), state(config=config, declared=Declared.from_json(declared)))

    def test_quantization_that_is_gone_already(self) -> None:
        assert not difference(Tuning(), state(declared=Declared(quantization=True)))

    def test_only_indexes_that_were_declared_are_dropped(self) -> None:
        indexes = {name: {"data_type": "keyword", "points": 1} for name in ("declared", "still", "application")}
        found = difference(
            Tuning(indexes={"still": {"type": "keyword"}}),
            state(indexes=indexes, declared=Declared(("declared", "still", "gone already"))),
        )
        assert found.drop_indexes == ("declared",)
        assert found.create_indexes == {}
        assert found.changes == (Change("payload_index.declared", {"type": "keyword"}, None),)

    def test_what_is_remembered_for_that(self) -> None:
        tuning = Tuning({"quantization_config": QUANTIZED}, {"b": {"type": "bool"}, "a": {"type": "uuid"}})
        assert tuning.declared() == Declared(("a", "b"), quantization=True)
        assert Tuning().declared() == Declared()


class TestIndexes:
    @pytest.mark.parametrize(
        ("declared", "found"),
        [
            ({"type": "keyword"}, {"data_type": "keyword", "points": 3}),
            ({"type": "keyword", "is_tenant": False}, {"data_type": "keyword"}),
            ({"type": "keyword"}, shown("keyword", is_tenant=False)),
            ({"type": "keyword", "enable_hnsw": True}, {"data_type": "keyword", "params": None}),
            ({"type": "integer"}, shown("integer", lookup=True, range=True)),
            ({"type": "integer", "lookup": True, "range": True}, {"data_type": "integer"}),
            ({"type": "text"}, shown("text", tokenizer="word", lowercase=True)),
            ({"type": "text", "tokenizer": "word"}, shown("text")),
            (
                {"type": "text", "stopwords": {"languages": ["german", "english"], "custom": []}},
                shown("text", stopwords={"languages": ["english", "german"]}),
            ),
            (
                {"type": "text", "stopwords": {"languages": ["english"], "custom": []}},
                shown("text", stopwords="english"),
            ),
            ({"type": "text", "stopwords": {"languages": [], "custom": []}}, {"data_type": "text"}),
        ],
    )  # fmt: skip
    def test_the_same_index_in_other_words(self, declared: Any, found: Any) -> None:
        assert index_equal(declared, found)

    @pytest.mark.parametrize(
        ("declared", "found"),
        [
            ({"type": "keyword"}, None),
            ({"type": "keyword"}, {"data_type": "integer"}),
            ({"type": "keyword", "is_tenant": True}, {"data_type": "keyword"}),
            ({"type": "keyword"}, shown("keyword", is_tenant=True)),
            ({"type": "keyword", "enable_hnsw": False}, {"data_type": "keyword"}),
            ({"type": "integer", "lookup": False}, {"data_type": "integer"}),
            ({"type": "integer"}, shown("integer", range=False)),
            ({"type": "text", "lowercase": False}, shown("text")),
            ({"type": "text", "tokenizer": "prefix"}, {"data_type": "text"}),
            ({"type": "text", "min_token_len": 2}, {"data_type": "text"}),
            ({"type": "text", "max_token_len": 0}, {"data_type": "text"}),
            ({"type": "text", "stopwords": {"languages": ["english"]}}, {"data_type": "text"}),
            (
                {"type": "text", "stemmer": {"type": "snowball", "language": "english"}},
                shown("text", stemmer={"type": "snowball", "language": "german"}),
            ),
        ],
    )  # fmt: skip
    def test_another_index(self, declared: Any, found: Any) -> None:
        assert not index_equal(declared, found)

    def test_another_type_or_option_is_made_anew(self) -> None:
        found = difference(
            Tuning(indexes={"a": {"type": "keyword", "is_tenant": True}, "b": {"type": "uuid"}}),
            state(indexes={"a": {"data_type": "keyword", "points": 3}}),
        )
        assert set(found.create_indexes) == {"a", "b"}
        assert found.changes == (
            Change("payload_index.a", {"type": "keyword"}, {"type": "keyword", "is_tenant": True}),
            Change("payload_index.b", None, {"type": "uuid"}),
        )

    @given(index)
    def test_what_is_described_is_an_index_like_it(self, declared: dict[str, Any]) -> None:
        found = {"data_type": declared["type"], "params": declared, "points": 0}
        assert index_equal(declared, found)
        described = describe_index(found)
        assert described is not None
        assert index_equal(described, found)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, {}),
        ({"size": 4, "distance": "Dot"}, {"": {"size": 4, "distance": "Dot"}}),
        ({"a": {"size": 4}}, {"a": {"size": 4}}),
        ({"size": {"size": 4}}, {"size": {"size": 4}}),
    ],
)
def test_vectors_by_name_even_if_one_is_named_size(found: Any, expected: Any) -> None:
    assert named_vectors(found) == expected


def apply(server: Qdrant, name: str, found: InPlace) -> None:
    for path in found.drop_indexes:
        server.delete_index(name, path)
    for path, made in found.create_indexes.items():
        server.create_index(name, path, made)
    if found.patch:
        server.patch(name, found.patch)


@st.composite
def edits(draw: st.DrawFn) -> tuple[Schema, Tuning, Tuning]:
    """A collection's schema, how it was declared first, and how it is declared now."""
    chosen = draw(st.sampled_from(SCHEMAS))
    return chosen, draw(tunings(chosen)), draw(tunings(chosen))


@settings(max_examples=60)
@given(edits())
def test_applying_the_difference_leaves_none(edit: tuple[Schema, Tuning, Tuning]) -> None:
    wanted, before, after = edit
    server = Qdrant()
    server.create(
        "c", create_body(wanted, before, metadata("c", wanted, declared=before.declared().as_json()), defer=False)
    )
    for path, made in before.indexes.items():
        server.create_index("c", path, made)
    assert not difference(before, server.state("c"))

    untouched = deepcopy(server.collections["c"].config)
    found = difference(after, server.state("c"))
    apply(server, "c", found)
    server.mark("c", {Declared.KEY: after.declared().as_json()})

    assert not difference(after, server.state("c"))
    for section in ("hnsw_config", "optimizer_config"):
        declared = after.sections.get(section.replace("optimizer_", "optimizers_"), {})
        for key, value in untouched[section].items():
            assert key in declared or server.collections["c"].config[section][key] == value
    assert server.collections["c"].indexes.keys() == after.indexes.keys()
    assert bool(server.collections["c"].config["quantization_config"]) == ("quantization_config" in after.sections)
