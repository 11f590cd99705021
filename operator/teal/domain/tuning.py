"""What Qdrant changes in place, and the pure difference between what is declared and what is there.

A `Tuning` holds only what the spec declares, in the shape of `PATCH /collections/{name}`; what it does not
declare stays as it is, or as the server's default. The exception is what Teal itself set earlier (kept in the
mark `declared`): a payload index or a quantization that has left the spec is taken away again, one that the
application made is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from teal.domain.marks import Declared
from teal.domain.observed import CollectionState
from teal.domain.schema import UNNAMED

Json = Mapping[str, Any]

LIMITS = "strict_mode_config"
"""The section with the limits for clients."""
PATCH_TO_CONFIG = {
    "hnsw_config": ("hnsw_config",),
    "optimizers_config": ("optimizer_config",),
    "strict_mode_config": ("strict_mode_config",),
    "params": ("params",),
    "vectors": ("params", "vectors"),
    "sparse_vectors": ("params", "sparse_vectors"),
}
INDEX_DEFAULTS = {"lowercase": True, "enable_hnsw": True, "lookup": True, "range": True}
"""Boolean options of an index that are on by default; all others are off."""
DEFAULT_TOKENIZER = "word"


@dataclass(frozen=True)
class Change:
    """One value that differs: `path` in Qdrant's own names, as in `hnsw_config.m`."""

    path: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.path}: {self.old} → {self.new}"


@dataclass(frozen=True)
class Tuning:
    """Declared values. `sections` is PATCH-shaped; `indexes` is field → index schema with its `type`."""

    sections: Json = field(default_factory=dict)
    indexes: Mapping[str, Json] = field(default_factory=dict)

    @property
    def without_limits(self) -> Tuning:
        """What holds for a collection that does not serve yet: limits would stop Teal, its only writer."""
        return Tuning({name: s for name, s in self.sections.items() if name != LIMITS}, self.indexes)

    def declared(self) -> Declared:
        """The mark that remembers what the spec declared, so that what leaves the spec can be removed."""
        return Declared(tuple(sorted(self.indexes)), "quantization_config" in self.sections)


@dataclass(frozen=True)
class InPlace:
    """The difference, as the calls that remove it: one PATCH body, indexes to (re)create, indexes to drop."""

    changes: tuple[Change, ...] = ()
    patch: Json = field(default_factory=dict)
    create_indexes: Mapping[str, Json] = field(default_factory=dict)
    drop_indexes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes)


def difference(tuning: Tuning, state: CollectionState) -> InPlace:
    """Everything by which `state` falls short of `tuning`."""
    config_changes = list(_config_changes(tuning.sections, state.config))
    dropped_quantization = _quantization_left(tuning, state)
    sections = {change.path.split(".")[0] for change in config_changes}
    patch: dict[str, Any] = {name: value for name, value in tuning.sections.items() if name in sections}
    if dropped_quantization:
        config_changes.append(dropped_quantization)
        patch["quantization_config"] = "Disabled"
    create = {
        name: schema
        for name, schema in tuning.indexes.items()
        if not index_equal(schema, state.payload_schema.get(name))
    }
    left = tuple(
        name
        for name in state.marks.declared.indexes
        if name not in tuning.indexes and name in state.payload_schema
    )
    index_changes = [
        Change(f"payload_index.{name}", describe_index(state.payload_schema.get(name)), dict(schema))
        for name, schema in create.items()
    ] + [Change(f"payload_index.{name}", describe_index(state.payload_schema.get(name)), None) for name in left]
    return InPlace((*config_changes, *index_changes), patch, create, left)


def index_equal(declared: Json, found: Json | None) -> bool:
    """Whether the index that `GET /collections` shows is the declared one; unset is the same as the default."""
    return found is not None and _normal_index(declared) == describe_index(found)


def describe_index(found: Json | None) -> dict[str, Any] | None:
    """An entry of `payload_schema` in the shape of a declaration."""
    if found is None:
        return None
    return _normal_index({"type": found.get("data_type"), **(found.get("params") or {})})


def _normal_index(schema: Json) -> dict[str, Any]:
    found = {n: v for n, v in schema.items() if v is not None and v is not INDEX_DEFAULTS.get(n, False)}
    if found.get("tokenizer") == DEFAULT_TOKENIZER:
        del found["tokenizer"]
    stopwords = _normal_stopwords(found.pop("stopwords", {}))
    return {**found, "stopwords": stopwords} if stopwords else found


def _normal_stopwords(words: Any) -> dict[str, list[str]]:
    """Two sets, which Qdrant sorts; one language may stand there by its name."""
    sets = {"languages": [words]} if isinstance(words, str) else words
    return {name: sorted(set(values)) for name, values in sets.items() if values}


def _quantization_left(tuning: Tuning, state: CollectionState) -> Change | None:
    found = state.config.get("quantization_config")
    was_ours = state.marks.declared.quantization
    if "quantization_config" in tuning.sections or not found or not was_ours:
        return None
    return Change("quantization_config", found, "Disabled")


def _config_changes(sections: Json, config: Json) -> Iterator[Change]:
    for section, wanted in sections.items():
        if section == "quantization_config":
            found = config.get(section)
            if not _covers(wanted, found):
                yield Change(section, found, wanted)
            continue
        found = config
        for part in PATCH_TO_CONFIG[section]:
            found = (found or {}).get(part)
        if section == "vectors":
            found = named_vectors(found)
        yield from _leaf_changes(section, wanted, found or {})


def _leaf_changes(path: str, wanted: Json, found: Json) -> Iterator[Change]:
    for name, value in wanted.items():
        here = found.get(name)
        if isinstance(value, Mapping) and name != "quantization_config":
            yield from _leaf_changes(f"{path}.{name}", value, here or {})
        elif not _covers(value, here):
            yield Change(f"{path}.{name}", here, value)


def _covers(wanted: Any, found: Any) -> bool:
    """Whether `found` has everything that `wanted` says; servers add defaults of their own."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(_covers(v, found.get(k)) for k, v in wanted.items())
    if isinstance(wanted, float) and isinstance(found, int | float):
        return abs(wanted - found) < 1e-6
    return bool(wanted == found)


def named_vectors(vectors: Any) -> dict[str, Any]:
    """`config.params.vectors` by name; a single unnamed vector gets the name `""`."""
    if not isinstance(vectors, Mapping):
        return {}
    return {UNNAMED: vectors} if isinstance(vectors.get("size"), int) else dict(vectors)
