"""Manifests without a cluster: which resource is which, and where its secrets come from."""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from teal.api.manifest import ManifestError
from teal.cli.manifests import FileSecrets, Manifests, load
from teal.domain.errors import TerminalError
from tests.unit.api.manifests import Manifest, collection, embeddings

REFERRING = collection(dimensions=None, embeddingSetRef={"name": "minilm"})


def named(manifest: Manifest, name: str, namespace: str | None = None) -> Manifest:
    return {**manifest, "metadata": {"name": name} | ({"namespace": namespace} if namespace else {})}


def secret(**fields: Any) -> Manifest:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "qdrant"}, **fields}


def read(folder: Path, *documents: Any, namespace: str = "default") -> Manifests:
    """The documents, in one file."""
    file = folder / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    return load([str(file)], namespace)


class TestResources:
    def test_identity_comes_from_namespace_and_name(self, tmp_path: Path) -> None:
        (one,) = read(tmp_path, collection()).resources
        (again,) = read(tmp_path, collection(shardNumber=3)).resources
        (elsewhere,) = read(tmp_path, collection(), namespace="search").resources
        (other,) = read(tmp_path, collection(name="other")).resources
        assert (one.namespace, one.name, one.key) == ("default", "docs", "default/docs")
        assert one.uid == again.uid
        assert len({one.uid, elsewhere.uid, other.uid}) == 3

    def test_the_manifests_own_namespace_wins(self, tmp_path: Path) -> None:
        (found,) = read(tmp_path, named(collection(), "docs", "own"), namespace="given").resources
        assert found.namespace == "own"

    def test_the_embedding_set_is_found_in_the_same_namespace(self, tmp_path: Path) -> None:
        found = read(
            tmp_path,
            named(REFERRING, "a", "one"),
            named(REFERRING, "b", "two"),
            named(embeddings(dimensions=8), "minilm", "one"),
            named(embeddings(), "unused"),
        )
        by_name = {resource.name: resource.embedding_set for resource in found.resources}
        assert by_name["a"]
        assert by_name["a"].spec.dimensions == 8
        assert by_name["b"] is None, "that it is missing is for the engine to say"

    def test_annotations_act_as_in_a_cluster(self, tmp_path: Path) -> None:
        manifest = collection()
        manifest["metadata"]["annotations"] = {"teal.dev/retry": "p-1"}
        (found,) = read(tmp_path, manifest).resources
        assert found.annotations == {"teal.dev/retry": "p-1"}

    def test_other_kinds_are_somebody_elses(self, tmp_path: Path) -> None:
        others = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}, None]
        assert len(read(tmp_path, *others, collection()).resources) == 1

    def test_a_folder_is_all_its_yaml_in_order(self, tmp_path: Path) -> None:
        for file, name in (("b.yaml", "b"), ("a.yml", "a"), ("c.json", "c")):
            (tmp_path / file).write_text(yaml.safe_dump(collection(name=name)))
        assert [resource.name for resource in load([str(tmp_path)]).resources] == ["a", "b"]

    def test_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        text = yaml.safe_dump(collection()).encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
        assert [resource.name for resource in load(["-"]).resources] == ["docs"]


BAD: dict[str, tuple[list[Any], str]] = {
    "nothing": ([], "no VectorCollection"),
    "only an EmbeddingSet": ([embeddings()], "no VectorCollection"),
    "a typo": ([collection(shardNumbr=2)], "spec.shardNumbr: is not a field; did you mean shardNumber?"),
    "a kind of ours that there is not": ([named(collection(), "d") | {"kind": "Collection"}], "expected"),
    "a version of ours that there is not": ([collection() | {"apiVersion": "teal.dev/v2"}], "expected"),
    "a list": ([[1, 2]], "must be an object"),
    "the same twice": ([collection(), collection()], "default/docs is given twice"),
    "the same set twice": ([embeddings(), embeddings(), collection()], "given twice"),
    "a secret without a name": (
        [{"kind": "Secret", "stringData": {}}, collection()],
        "metadata.name: is required",
    ),
    "a secret that is not base64": (
        [secret(data={"key": "plain text!"}), collection()],
        "data.key: must be base64",
    ),
}


@pytest.mark.parametrize(("documents", "says"), BAD.values(), ids=BAD)
def test_what_is_refused(tmp_path: Path, documents: list[Any], says: str) -> None:
    with pytest.raises(ManifestError) as error:
        read(tmp_path, *documents)
    assert says in str(error.value)


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe\x00", b"a: \x00"])
def test_what_is_no_yaml_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.yaml"
    file.write_bytes(content)
    with pytest.raises(ManifestError, match=r"broken\.yaml"):
        load([str(file)])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load([str(tmp_path / "none.yaml")])


def test_a_refused_secret_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as error:
        read(tmp_path, secret(data={"key": "hunter2!"}), collection())
    assert "hunter2" not in str(error.value)


class TestSecrets:
    async def test_both_ways_to_write_one(self, tmp_path: Path) -> None:
        coded = base64.b64encode(b"coded\n").decode()
        given = secret(data={"a": coded, "b": coded}, stringData={"b": "plain", "c": 7})
        secrets = read(tmp_path, given, collection()).secrets
        assert [await secrets.read("default", "qdrant", key) for key in "abc"] == ["coded", "plain", "7"]

    async def test_it_belongs_where_the_resources_do(self, tmp_path: Path) -> None:
        given = [secret(stringData={"key": "found"}), collection()]
        secrets = read(tmp_path, *given, namespace="search").secrets
        assert await secrets.read("search", "qdrant", "key") == "found"
        with pytest.raises(TerminalError):
            await secrets.read("default", "qdrant", "key")

    async def test_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TEAL_SECRET_MY_QDRANT_API_KEY", "from the environment")
        assert await FileSecrets().read("any", "my-qdrant", "api.key") == "from the environment"

    async def test_a_manifest_comes_before_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TEAL_SECRET_QDRANT_KEY", "environment")
        secrets = FileSecrets({("default", "qdrant"): {"key": "manifest"}})
        assert await secrets.read("default", "qdrant", "key") == "manifest"

    async def test_one_that_is_missing_says_how_to_give_it(self) -> None:
        with pytest.raises(TerminalError, match="TEAL_SECRET_QDRANT_KEY") as error:
            await FileSecrets().read("default", "qdrant", "key")
        assert error.value.reason == "SecretNotFound"
