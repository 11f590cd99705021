"""Fields that a later version will implement: using one stalls the resource; it is never ignored.

The schema is complete from the first version, so manifests need not be rewritten. But a field that is accepted
and does nothing would mislead: a user who sets `migration.runner: Job` relies on the operator not copying by
itself. So each such field is a row of this table, and the change that implements it removes the row.

Fields with a default are always present. So *used* means: set to another value than the default, or to one of
the values that the row names.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic.alias_generators import to_camel

from teal.api.embedding_set import EmbeddingSetSpec
from teal.api.model import Model
from teal.api.vector_collection import VectorCollectionSpec


@dataclass(frozen=True)
class Later:
    """A field (snake_case path from `spec`) of a later version, and the alternative."""

    path: str
    instead: str
    values: tuple[str, ...] = ()

    @property
    def shown_path(self) -> str:
        return ".".join(["spec", *(to_camel(step) for step in self.path.split("."))])

    def used_in(self, spec: Model) -> bool:
        """Whether `spec` uses it."""
        parent, name = _owner(spec, self.path)
        if parent is None:
            return False
        value = getattr(parent, name)
        return value in self.values if self.values else value != type(parent).model_fields[name].get_default()

    def describe(self, spec: Model) -> str:
        """Which value is not supported, where, and the alternative."""
        parent, name = _owner(spec, self.path)
        value = f" {getattr(parent, name)}" if self.values else ""
        return f"{self.shown_path}:{value} is not supported yet; {self.instead}"


VECTOR_COLLECTION = (
    Later("migration.strategy", "use Auto: what Qdrant can change in place is changed in place", ("BlueGreen",)),
    Later("migration.runner", "use Auto or InProcess", ("Job",)),
)

EMBEDDING_SET = (
    Later("source.postgres", "use source.collection, or load the collection yourself"),
    Later("source.files", "use source.collection, or load the collection yourself"),
    Later("source.external", "use source.collection"),
)


def unsupported(spec: VectorCollectionSpec, embedding_set: EmbeddingSetSpec | None) -> list[str]:
    """Everything that the spec uses and this version does not implement: one sentence each, starting with the
    path.

    Paths in the EmbeddingSet start with `EmbeddingSet <name>:`.
    """
    found = [later.describe(spec) for later in VECTOR_COLLECTION if later.used_in(spec)]
    if embedding_set is not None and (reference := spec.embedding_set_ref) is not None:
        found += [f"EmbeddingSet {reference.name}: {each}" for each in unsupported_source(embedding_set)]
    return found


def unsupported_source(embedding_set: EmbeddingSetSpec) -> list[str]:
    """The same for an EmbeddingSet by itself."""
    return [later.describe(embedding_set) for later in EMBEDDING_SET if later.used_in(embedding_set)]


def _owner(spec: Model, path: str) -> tuple[Model | None, str]:
    """The model that contains the last field of `path` (`None` if one in between is unset), and the field's
    name.
    """
    *steps, name = path.split(".")
    model: Model | None = spec
    for step in steps:
        model = getattr(model, step) if model is not None else None
    return model, name
