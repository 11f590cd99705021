"""The rendered definitions: whole, structural, bounded, and the same as in crds/."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from teal.api import crd
from tests.unit.api.manifests import BAD, EDITS, GOOD, Manifest

CRDS = Path(__file__).parents[3] / "crds"
Schema = dict[str, Any]

SCHEMAS = {kind.name: crd.object_schema(kind.model) for kind in crd.KINDS}
STRUCTURAL = {"description", "type", "properties", "required", "items", "default", "enum", "format", "pattern"} | {
    "minimum", "maximum", "exclusiveMinimum", "minLength", "maxLength", "minItems", "maxItems"
} | {"x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"}  # fmt: skip


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every value that the schema describes, with its path; items of a list are `path[]`."""
    yield path, schema
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    for name, each in schema.get("properties", {}).items():
        yield from nodes(each, f"{path}.{name}".removeprefix("."))


ALL = [(f"{kind}: {path}", node) for kind, schema in SCHEMAS.items() for path, node in nodes(schema)]


def test_the_folder_agrees_with_the_models() -> None:
    assert crd.check(CRDS) == []


def test_a_difference_is_found(tmp_path: Path) -> None:
    crd.write(tmp_path)
    assert crd.check(tmp_path) == []
    sets = tmp_path / "teal.dev_embeddingsets.yaml"
    sets.write_text(sets.read_text().replace("maximum: 65536", "maximum: 4096"))
    (tmp_path / "teal.dev_vectorcollections.yaml").unlink()
    (tmp_path / "stray.yaml").write_text("kind: Stray\n")
    stray, changed, missing = crd.check(tmp_path)
    assert "-kind: Stray" in stray
    assert "-                maximum: 4096\n+                maximum: 65536" in changed
    assert "+kind: CustomResourceDefinition" in missing


def test_the_files_are_yaml_of_what_is_defined() -> None:
    rendered = [yaml.safe_load(text) for text in crd.render().values()]
    assert rendered == [crd.definition(kind) for kind in crd.KINDS]


def test_the_names_that_users_type() -> None:
    names = {kind.name: crd.definition(kind)["spec"]["names"] for kind in crd.KINDS}
    assert {kind: (each["shortNames"], each["categories"]) for kind, each in names.items()} == {
        "EmbeddingSet": (["eset"], ["vectors"]),
        "VectorCollection": (["vcol"], ["vectors"]),
    }


def test_the_schemas_are_structural() -> None:
    assert {path: set(node) - STRUCTURAL for path, node in ALL if set(node) - STRUCTURAL} == {}
    assert [path for path, node in ALL if not isinstance(node.get("type"), str)] == []


def test_everything_is_described() -> None:
    described_elsewhere = re.compile(r"metadata$|\[\]$")
    assert [
        path for path, node in ALL if not node.get("description") and not described_elsewhere.search(path)
    ] == []


def test_texts_and_lists_are_bounded_so_that_rules_have_a_price() -> None:
    def bounded(node: Schema) -> bool:
        match node["type"]:
            case "string":
                return "maxLength" in node or "enum" in node or node.get("format") == "date-time"
            case "array":
                return "maxItems" in node
        return True

    assert [path for path, node in ALL if not bounded(node) and not re.search(": (apiVersion|kind)$", path)] == []


def test_numbers_of_a_spec_have_a_lower_bound() -> None:
    free = [
        path
        for path, node in ALL
        if ": spec" in path and node["type"] in {"integer", "number"} and "minimum" not in node
    ]
    assert [path.split("queries[].")[-1] for path in free] == ["min", "max"]


def test_a_section_with_defaults_is_always_there() -> None:
    """A default inside of an object counts only if the object is there or has a default itself."""
    spec = SCHEMAS["VectorCollection"]["properties"]["spec"]["properties"]
    defaulted = [path for path, node in nodes({"type": "object", "properties": spec}) if node.get("default") == {}]
    assert defaulted == [
        "migration",
        "migration.throttle",
        "migration.promotion",
        "verification",
        "watch",
        "retention",
    ]


def test_an_object_that_nobody_saw_is_not_current() -> None:
    for schema in SCHEMAS.values():
        assert schema["properties"]["status"]["default"] == {"observedGeneration": -1}


def test_the_good_manifests_use_every_field_of_both_specs() -> None:
    for kind, schema in SCHEMAS.items():
        known = {path for path, _ in nodes(schema["properties"]["spec"]) if path}
        used = {path for each in GOOD.values() if each["kind"] == kind for path in used_paths(each["spec"])}
        assert known - used == set()


def used_paths(value: Any, path: str = "") -> Iterator[str]:
    if path:
        yield path
    match value:
        case dict():
            for name, each in value.items():
                yield from used_paths(each, f"{path}.{name}".removeprefix("."))
        case list():
            for each in value:
                yield from used_paths(each, f"{path}[]")


def test_every_rule_is_broken_by_some_manifest() -> None:
    messages = {rule["message"] for _, node in ALL for rule in node.get("x-kubernetes-validations", ())}
    said = {bad.message for bad in BAD} | {edit.message for edit in EDITS}
    shown_in_status_only = {"must be between 0s and 876000h"}
    untried = {message for message in messages if not any(each and each in message for each in said)}
    assert untried == shown_in_status_only


@pytest.mark.parametrize(
    "manifests", [[bad.manifest for bad in BAD], [e.before for e in EDITS]], ids=["bad", "edits"]
)
def test_the_shared_manifests_are_of_our_kinds(manifests: list[Manifest]) -> None:
    assert {manifest["kind"] for manifest in manifests} == set(SCHEMAS)
