"""The two resources of the demo and the three changes to them, like commits in a team's repository."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from devkit.embeddings import HASHING, MINILM

Manifest = dict[str, Any]

ALIAS = "stdlib-docs"
EMBEDDING_SET = "docs-encoder"
OLD_ENCODER = {"model": HASHING, "dimensions": 256}
NEW_ENCODER = {"model": MINILM, "dimensions": 384}
TEXT_FIELD = "text"


@dataclass(frozen=True)
class Commit:
    """One change: its message, what to expect, and the manifests after it."""

    message: str
    expect: str
    manifests: tuple[Manifest, ...]
    before: tuple[Manifest, ...] = ()

    @property
    def diff(self) -> list[str]:
        """The change as `git show` prints it, without the file headers."""
        old, new = (
            yaml.safe_dump_all(each, sort_keys=False).splitlines() for each in (self.before, self.manifests)
        )
        return list(difflib.unified_diff(old, new, lineterm="", n=1))[2:]


def first(namespace: str, qdrant: Manifest, embedder_url: str, watch: Mapping[str, str]) -> Commit:
    """The resources as they are first applied; `watch` is merged into what the spec says of it."""
    embedding_set = {
        "apiVersion": "teal.dev/v1alpha1",
        "kind": "EmbeddingSet",
        "metadata": {"name": EMBEDDING_SET, "namespace": namespace},
        "spec": {
            "schemaVersion": "v1",
            **OLD_ENCODER,
            "distance": "Euclid",
            "embedder": {"openAI": {"url": embedder_url, "batchSize": 32, "parallelism": 2}},
            "source": {"collection": {"textField": TEXT_FIELD}},
        },
    }
    collection = {
        "apiVersion": "teal.dev/v1alpha1",
        "kind": "VectorCollection",
        "metadata": {"name": ALIAS, "namespace": namespace},
        "spec": {
            "qdrant": qdrant,
            "embeddingSetRef": {"name": EMBEDDING_SET},
            "hnsw": {"m": 16, "efConstruct": 100},
            "optimizers": {"indexingThreshold": 500},
            "payloadIndexes": [{"field": "module", "type": "keyword"}],
            "migration": {
                "throttle": {"maxReadLatencyMillis": 1000},
                "promotion": {"quietWait": "3s", "maxFence": "5s"},
            },
            "watch": {"duration": "5s", "interval": "1s", **watch},
            "retention": {"keepFor": "1h"},
        },
    }
    return Commit("Serve the docs of the standard library", "a new collection", (embedding_set, collection))


def changes(commit: Commit) -> Iterator[Commit]:
    """The three commits that follow `commit`, each on top of the one before."""
    for change in (denser, by_angle, better_encoder):
        commit = change(commit)
        yield commit


def denser(commit: Commit) -> Commit:
    return _edited(commit, "Denser graph; filter by source", "changed in place", _tune)


def by_angle(commit: Commit) -> Commit:
    expect = "a new collection, vectors copied; clients know nothing"
    return _edited(commit, "Compare by angle, not by distance", expect, _distance)


def better_encoder(commit: Commit) -> Commit:
    expect = "a new collection, texts embedded again; clients follow the alias"
    return _edited(commit, "A better encoder", expect, _encoder)


def _edited(commit: Commit, message: str, expect: str, edit: Callable[[Manifest, Manifest], None]) -> Commit:
    embedding_set, collection = copy.deepcopy(commit.manifests)
    edit(embedding_set["spec"], collection["spec"])
    return Commit(message, expect, (embedding_set, collection), commit.manifests)


def _tune(_: Manifest, collection: Manifest) -> None:
    collection["hnsw"]["m"] = 24
    collection["payloadIndexes"].append({"field": "source", "type": "keyword"})


def _distance(embedding_set: Manifest, _: Manifest) -> None:
    embedding_set["distance"] = "Cosine"


def _encoder(embedding_set: Manifest, _: Manifest) -> None:
    embedding_set |= {"schemaVersion": "v2", **NEW_ENCODER}
