"""A revision is exactly what Qdrant cannot change in place; its collection is found by name."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teal.domain.schema import (
    MAX_NAME,
    Datatype,
    DenseVector,
    Distance,
    Schema,
    collection_name,
    next_alias,
    sanitise,
    version_alias,
)
from tests.unit.domain.builders import dense, schema

names = st.text("abcXYZ019_.-", min_size=1, max_size=12)
api_aliases = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", fullmatch=True)
api_versions = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", fullmatch=True)
vectors = st.builds(
    DenseVector,
    name=names,
    size=st.integers(1, 65536),
    distance=st.sampled_from(Distance),
    datatype=st.sampled_from(Datatype),
    multivector=st.none() | st.just("max_sim"),
)
schemas = st.builds(
    Schema,
    vectors=st.lists(vectors, min_size=1, max_size=4, unique_by=lambda v: v.name).map(tuple),
    sparse=st.lists(names, max_size=3, unique=True).map(tuple),
    shard_number=st.none() | st.integers(1, 8),
    sharding_method=st.sampled_from(["auto", "custom"]),
    schema_version=api_versions,
    model=st.none() | names,
)


@given(schemas, st.randoms())
def test_the_order_of_vectors_does_not_matter(one: Schema, random: Any) -> None:
    shuffled = replace(one, vectors=random.sample(one.vectors, len(one.vectors)), sparse=one.sparse[::-1])
    assert shuffled == one
    assert shuffled.revision == one.revision
    assert hash(shuffled) == hash(one)


@given(schemas, schemas)
def test_equal_revisions_mean_equal_schemas(one: Schema, other: Schema) -> None:
    assert (one.revision == other.revision) == (one == other)


BASE = schema(dense(384, Distance.COSINE), shard_number=2, model="minilm", sparse=("bm25",))
VECTOR_EDITS = {
    "name": "text",
    "size": 768,
    "distance": Distance.DOT,
    "datatype": Datatype.FLOAT16,
    "multivector": "max_sim",
}
SCHEMA_EDITS = {
    "vectors": (*BASE.vectors, dense(name="image")),
    "sparse": (),
    "shard_number": None,
    "sharding_method": "custom",
    "schema_version": "v2",
    "model": None,
}


def test_every_identity_field_makes_another_revision() -> None:
    assert VECTOR_EDITS.keys() == {f.name for f in fields(DenseVector)}, "a new field needs a case"
    assert SCHEMA_EDITS.keys() == {f.name for f in fields(Schema)}, "a new field needs a case"
    edited = [replace(BASE, **{name: value}) for name, value in SCHEMA_EDITS.items()]
    edited += [replace(BASE, vectors=(replace(BASE.vectors[0], **{n: v}),)) for n, v in VECTOR_EDITS.items()]
    assert len({each.revision for each in [BASE, *edited]}) == len(edited) + 1


def test_a_revision_never_changes_between_releases() -> None:
    """The hash is part of names in production: changing how it is made would re-create every collection."""
    assert schema().revision == "a51933ab"
    assert BASE.revision == "ae92d27b"


@given(api_aliases, schemas)
def test_a_collection_is_found_again_by_its_alias_as_prefix(alias: str, one: Schema) -> None:
    name = collection_name(alias, one)
    assert name.startswith(f"{alias}-")
    assert name == f"{alias}-{one.schema_version}-{one.revision}"


@given(st.text(max_size=400), schemas, st.text(max_size=400))
def test_names_are_deterministic_safe_and_bounded_whatever_they_are_made_of(
    alias: str, one: Schema, version: str
) -> None:
    made = replace(one, schema_version=version)
    name = collection_name(alias, made)
    assert name == collection_name(alias, made)
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", name)
    assert name[0] not in "-."
    assert len(name) <= MAX_NAME
    assert name.endswith(f"-{made.revision}")


@pytest.mark.parametrize(
    ("part", "clean"),
    [
        ("Docs_v2.1", "Docs_v2.1"),
        ("with space/slash", "with-space-slash"),
        ("..", "x"),
        ("", "x"),
        ("-a", "a"),
        ("ends-", "ends-"),
        ("größe", "gr-e"),
    ],
)
def test_sanitising_keeps_case_and_what_is_safe(part: str, clean: str) -> None:
    assert sanitise(part) == clean


@given(st.text(max_size=50))
def test_sanitising_twice_changes_nothing(part: str) -> None:
    assert sanitise(sanitise(part)) == sanitise(part)


def test_case_is_kept() -> None:
    assert collection_name("Docs", schema(version="V2")).startswith("Docs-V2-")
    assert collection_name("docs", schema()) != collection_name("Docs", schema())


def test_the_lesser_aliases() -> None:
    assert next_alias("docs") == "docs-next"
    assert version_alias("docs", "v2") == "docs-v2"


def test_the_main_vector_is_the_unnamed_or_the_first_by_name() -> None:
    assert schema().main == dense()
    named = schema(dense(8, name="text"), dense(4, name="image"))
    assert named.main == dense(4, name="image")
    assert Schema(()).main is None


def test_bytes_of_a_point() -> None:
    mixed = schema(
        dense(10, name="a"),
        dense(10, name="b", datatype=Datatype.FLOAT16),
        dense(10, name="c", datatype=Datatype.UINT8),
    )
    assert mixed.vector_bytes == 10 * (4 + 2 + 1)
