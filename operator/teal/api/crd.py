"""The CustomResourceDefinitions, rendered from the models; `crds/` contains the result.

Rendering is deterministic, so a difference between `crds/` and the models is an error that `check` finds.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from teal.api.common import GROUP, VERSION, CustomResource
from teal.api.embedding_set import EmbeddingSet
from teal.api.structural import structural_schema
from teal.api.vector_collection import VectorCollection

HEADER = "# Rendered from the models in operator/teal/api by `make crds`. Change those, not this file.\n"
CATEGORY = "vectors"

API_VERSION_HELP = "Version of the schema of this object."
KIND_HELP = "Kind of this object."


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`; a wide one is shown with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False

    @property
    def as_json(self) -> dict[str, Any]:
        priority = {"priority": 1} if self.wide else {}
        return {"name": self.name, "type": self.type, "jsonPath": self.path, **priority}


@dataclass(frozen=True)
class Definition:
    """The parts of a CRD beside the schema."""

    model: type[CustomResource]
    plural: str
    short_name: str
    columns: Sequence[Column]

    @property
    def name(self) -> str:
        return self.model.__name__

    @property
    def file(self) -> str:
        return f"{GROUP}_{self.plural}.yaml"


READY = Column("Ready", '.status.conditions[?(@.type=="Ready")].status')
AGE = Column("Age", ".metadata.creationTimestamp", "date")

KINDS = (
    Definition(
        EmbeddingSet,
        plural="embeddingsets",
        short_name="eset",
        columns=(
            READY,
            Column("Dim", ".spec.dimensions", "integer"),
            Column("Distance", ".spec.distance"),
            Column("Schema", ".spec.schemaVersion"),
            Column("Model", ".spec.model"),
            AGE,
        ),
    ),
    Definition(
        VectorCollection,
        plural="vectorcollections",
        short_name="vcol",
        columns=(
            READY,
            Column("Phase", ".status.phase"),
            Column("Progress", ".status.migration.progress.percent", "integer"),
            Column("Active", ".status.active.collection"),
            Column("Dim", ".status.active.dimensions", "integer"),
            Column("Distance", ".status.active.distance"),
            Column("Schema", ".status.active.schemaVersion"),
            Column("Points", ".status.active.points", "integer", wide=True),
            Column("ETA", ".status.migration.progress.etaSeconds", "integer", wide=True),
            Column("Target", ".status.migration.target", wide=True),
            AGE,
        ),
    ),
)


def definition(kind: Definition) -> dict[str, Any]:
    """The CustomResourceDefinition of `kind`, as JSON."""
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [column.as_json for column in kind.columns],
        "schema": {"openAPIV3Schema": object_schema(kind.model)},
    }
    names = {
        "kind": kind.name,
        "listKind": f"{kind.name}List",
        "plural": kind.plural,
        "singular": kind.name.lower(),
        "shortNames": [kind.short_name],
        "categories": [CATEGORY],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{GROUP}",
            "labels": {"app.kubernetes.io/name": "teal", "app.kubernetes.io/component": "crd"},
        },
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def object_schema(model: type[CustomResource]) -> dict[str, Any]:
    """The schema of whole objects of `model`.

    `status.observedGeneration` starts at -1: kstatus compares it with the generation, and an object that no
    operator has seen yet must not look reconciled.
    """
    schema = structural_schema(model)
    properties = schema["properties"]
    properties["apiVersion"] = {"type": "string", "description": API_VERSION_HELP}
    properties["kind"] = {"type": "string", "description": KIND_HELP}
    properties["metadata"] = {"type": "object"}
    properties["status"]["default"] = {"observedGeneration": -1}
    order = ("apiVersion", "kind", "metadata", "spec", "status")
    return {**schema, "required": ["spec"], "properties": {name: properties[name] for name in order}}


def render() -> dict[str, str]:
    """The files of `crds/`: name → YAML."""
    return {kind.file: HEADER + _yaml(definition(kind)) for kind in KINDS}


def check(folder: Path) -> list[str]:
    """What differs between `folder` and the models: a unified diff for each file; empty where they agree."""
    rendered = render()
    present = {path.name: path.read_text() for path in sorted(folder.glob("*.yaml"))}
    differences = []
    for name in sorted(rendered | present):
        old, new = present.get(name, ""), rendered.get(name, "")
        lines = difflib.unified_diff(
            old.splitlines(), new.splitlines(), f"{name} (there)", f"{name} (rendered)", lineterm=""
        )
        if diff := "\n".join(lines):
            differences.append(diff)
    return differences


def write(folder: Path) -> list[Path]:
    """Write the files of `crds/` into `folder`, which is created if it does not exist; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in render().items():
        path = folder / name
        path.write_text(text)
        paths.append(path)
    return paths


def _yaml(document: dict[str, Any]) -> str:
    text: str = yaml.dump(document, Dumper=_Plain, sort_keys=False, width=110, allow_unicode=True)
    return text


class _Plain(yaml.SafeDumper):
    """Writes repeated values in full: anchors are hard to read, and not every tool supports them."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


if __name__ == "__main__":
    for written in write(Path(sys.argv[1] if len(sys.argv) > 1 else "crds")):
        sys.stdout.write(f"{written}\n")
