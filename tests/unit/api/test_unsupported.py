"""What cannot be done yet is named, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic.alias_generators import to_camel

from teal.api.embedding_set import EmbeddingSet, EmbeddingSetSpec
from teal.api.unsupported import EMBEDDING_SET, VECTOR_COLLECTION, unsupported, unsupported_source
from teal.api.vector_collection import VectorCollection, VectorCollectionSpec
from tests.unit.api.manifests import EMBEDDER, EVERYTHING, FILES, POSTGRES, collection, embeddings, examples

LATER: list[tuple[str, dict[str, Any]]] = [
    ("spec.migration.strategy: BlueGreen", {"migration": {"strategy": "BlueGreen"}}),
    ("spec.migration.runner: Job", {"migration": {"runner": "Job"}}),
]
LATER_SOURCES: list[tuple[str, dict[str, Any]]] = [
    ("spec.source.postgres", {"postgres": POSTGRES}),
    ("spec.source.files", {"files": FILES}),
    ("spec.source.external", {"external": {"expectedPoints": 1}}),
]


def spec(**changes: Any) -> VectorCollectionSpec:
    return VectorCollection.model_validate(collection(**changes)).spec


def eset(**changes: Any) -> EmbeddingSetSpec:
    return EmbeddingSet.model_validate(embeddings(**changes)).spec


@pytest.mark.parametrize(("path", "changes"), LATER, ids=[path for path, _ in LATER])
def test_a_field_of_a_later_version_is_named(path: str, changes: dict[str, Any]) -> None:
    (sentence,) = unsupported(spec(**changes), None)
    assert sentence.startswith(path)
    assert "is not supported yet; " in sentence


@pytest.mark.parametrize(("path", "source"), LATER_SOURCES, ids=[path for path, _ in LATER_SOURCES])
def test_a_source_of_a_later_version_is_named_with_its_embedding_set(path: str, source: dict[str, Any]) -> None:
    embedding_set = eset(source=source)
    assert [sentence.split(": ")[0] for sentence in unsupported_source(embedding_set)] == [path]
    referring = spec(dimensions=None, embeddingSetRef={"name": "e"})
    (sentence,) = unsupported(referring, embedding_set)
    assert sentence.startswith(f"EmbeddingSet e: {path}: is not supported yet")


def test_every_row_of_the_table_is_tried_here() -> None:
    tried = {path.split(": ")[0] for path, _ in [*LATER, *LATER_SOURCES]}
    table = {
        f"spec.{'.'.join(map(to_camel, later.path.split('.')))}" for later in (*VECTOR_COLLECTION, *EMBEDDING_SET)
    }
    assert tried == table


def test_defaults_written_out_are_supported() -> None:
    written_out = spec(
        migration={
            "strategy": "Auto",
            "writes": "CatchUp",
            "runner": "Auto",
            "parallelism": 4,
            "promotion": {
                "mode": "Automatic",
                "fence": "WhenBusy",
                "quietWait": "5m",
                "maxStall": "1s",
                "maxFence": "10s",
                "windows": [],
            },
        },
        verification={"minCoverage": 1.0, "sample": 1000},
        watch={"duration": "30m", "interval": "30s"},
        retention={"keepFor": "48h", "snapshot": True},
    )
    assert unsupported(written_out, None) == []


def test_what_this_version_does_is_supported() -> None:
    supported = spec(
        dimensions=None,
        embeddingSetRef={"name": "e"},
        migration={
            "strategy": "InPlaceOnly",
            "runner": "InProcess",
            "parallelism": 8,
            "throttle": {"maxReadLatencyMillis": 50},
            "writes": "DualWrite",
            "changeField": {"name": "at", "trusted": True},
            "promotion": {"quietWait": "1s", "maxFence": "5s", "fence": "Never"},
        },
        verification={
            "minCoverage": 0.9,
            "sample": 10,
            "minOverlap": 0.5,
            "maxLatencyRatio": 3,
            "goldenQueries": {"configMapRef": {"name": "g"}, "minRecall": 0.9},
        },
        watch={
            "duration": "0s",
            "interval": "1s",
            "maxErrorRate": 0.01,
            "maxLatencyRatio": 3,
            "prometheus": {"url": "http://p", "queries": [{"name": "q", "query": "up", "min": 1}]},
        },
        retention={"keepFor": "1h", "snapshot": False},
        adopt={"collection": "old"},
        deletionPolicy="Delete",
        suspend=True,
        sparseVectors=[{"name": "s"}],
    )
    reembedding = eset(model="m", embedder=EMBEDDER, source={"collection": {"textField": "text"}})
    assert unsupported(supported, reembedding) == []


def test_everything_at_once_names_everything() -> None:
    found = unsupported(VectorCollection.model_validate(EVERYTHING).spec, None)
    assert len(found) == len(VECTOR_COLLECTION)


def test_the_examples_use_nothing_of_a_later_version() -> None:
    for manifest in examples().values():
        if manifest["kind"] == "VectorCollection":
            assert unsupported(VectorCollection.model_validate(manifest).spec, None) == []
        else:
            assert unsupported_source(EmbeddingSet.model_validate(manifest).spec) == []
