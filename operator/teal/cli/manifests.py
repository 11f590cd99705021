"""Reads manifests for the command line: files, folders or standard input, with Secrets and ConfigMaps.

Without a cluster, identity comes from namespace and name: the same manifest is the same resource on every
machine. ConfigMaps come from manifests among the files; Secrets too, or from the environment.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import sys
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from teal.api.common import GROUP
from teal.api.embedding_set import EmbeddingSet
from teal.api.manifest import ManifestError, parse
from teal.api.vector_collection import VectorCollection
from teal.cli.options import DEFAULT_NAMESPACE
from teal.domain.errors import TerminalError
from teal.migration.contract import Resource

CLUSTER = "no-cluster"
_NAMESPACE_UUID = uuid.UUID("6f0b9f36-6a0e-5d5e-9f0c-7ea17ea17ea1")


@dataclass
class FileSecrets:
    """Secrets from manifests and from `TEAL_SECRET_<NAME>_<KEY>` variables; ConfigMaps only from manifests.

    Implements `contract.Reads`.
    """

    data: dict[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    config_maps: dict[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)

    async def read(self, namespace: str, name: str, key: str) -> str:
        variable = "TEAL_SECRET_" + re.sub(r"[^A-Z0-9]", "_", f"{name}_{key}".upper())
        found = self.data.get((namespace, name), {}).get(key) or os.environ.get(variable)
        if found is None:
            raise TerminalError(
                "SecretNotFound",
                f"The key {key!r} of the Secret {name!r} is needed. Give the Secret's manifest with -f too, "
                f"or set the environment variable {variable}.",
            )
        return found

    async def config_map(self, namespace: str, name: str) -> Mapping[str, str]:
        if (namespace, name) not in self.config_maps:
            raise TerminalError(
                "ConfigMapNotFound", f"The ConfigMap {name!r} is needed. Give its manifest with -f too."
            )
        return self.config_maps[namespace, name]

    def add_config_map(self, manifest: Mapping[str, Any], namespace: str) -> None:
        metadata = manifest.get("metadata") or {}
        name = metadata.get("name")
        if not name:
            raise ManifestError("ConfigMap without a name", ["metadata.name: is required"])
        data = {key: str(value) for key, value in (manifest.get("data") or {}).items()}
        self.config_maps[metadata.get("namespace") or namespace, name] = data

    def add(self, manifest: Mapping[str, Any], namespace: str) -> None:
        """Add the manifest of a Secret; `namespace` is the default for a manifest that names none.

        Raises:
            ManifestError: it has no name, or its data is not text in base64.
        """
        metadata = manifest.get("metadata") or {}
        name = metadata.get("name")
        if not name:
            raise ManifestError("Secret without a name", ["metadata.name: is required"])
        plain = {key: str(value) for key, value in (manifest.get("stringData") or {}).items()}
        coded = {key: _decoded(name, key, value) for key, value in (manifest.get("data") or {}).items()}
        found = {key: value.strip() for key, value in (coded | plain).items()}
        self.data[metadata.get("namespace") or namespace, name] = found


def _decoded(name: str, key: str, value: object) -> str:
    try:
        return base64.b64decode(str(value), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        # Never the value itself: it may be a key that somebody forgot to encode.
        problem = f"data.{key}: must be base64 of a text; plain text belongs into stringData"
        raise ManifestError(f"Secret {name}", [problem]) from None


@dataclass
class Manifests:
    """The result: resources for the engine, and the source of their Secrets."""

    resources: list[Resource]
    secrets: FileSecrets


def load(paths: Iterable[str], namespace: str = DEFAULT_NAMESPACE) -> Manifests:
    """Read `paths` (`-` is standard input; of a folder, all YAML files).

    Raises:
        ManifestError: a document of Teal's kinds is not valid, or there is none.
        OSError: a path cannot be read.
    """
    secrets = FileSecrets()
    sets: dict[tuple[str, str], EmbeddingSet] = {}
    collections: dict[tuple[str, str], VectorCollection] = {}
    for document in _documents(paths):
        kind = document.get("kind")
        if kind == "Secret":
            secrets.add(document, namespace)
        elif kind == "ConfigMap":
            secrets.add_config_map(document, namespace)
        elif str(document.get("apiVersion", "")).startswith(f"{GROUP}/"):
            model = parse(document)
            where = (model.metadata.namespace or namespace, model.metadata.name)
            if where in (sets if isinstance(model, EmbeddingSet) else collections):
                problem = f"{'/'.join(where)} is given twice"
                raise ManifestError(f"{model.kind} {model.metadata.name}", [problem])
            if isinstance(model, EmbeddingSet):
                sets[where] = model
            else:
                collections[where] = model
    if not collections:
        raise ManifestError("The input", ["there is no VectorCollection among the manifests"])
    return Manifests([_resource(where, model, sets) for (where, _), model in collections.items()], secrets)


def _resource(
    namespace: str, manifest: VectorCollection, sets: Mapping[tuple[str, str], EmbeddingSet]
) -> Resource:
    reference = manifest.spec.embedding_set_ref
    name = manifest.metadata.name
    return Resource(
        manifest=manifest,
        embedding_set=sets.get((namespace, reference.name)) if reference else None,
        uid=str(uuid.uuid5(_NAMESPACE_UUID, f"{namespace}/{name}")),
        namespace=namespace,
        name=name,
        annotations=manifest.metadata.annotations,
    )


def _documents(paths: Iterable[str]) -> Iterable[Mapping[str, Any]]:
    for path in paths:
        for label, text in _texts(path):
            for document in _parsed(label, text):
                if isinstance(document, Mapping):
                    yield document
                elif document is not None:
                    raise ManifestError(label, ["each document must be an object with apiVersion and kind"])


def _parsed(label: str, text: bytes) -> list[Any]:
    try:
        return list(yaml.safe_load_all(text))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ManifestError(label, ["is not YAML: " + " ".join(str(error).split())]) from error


def _texts(path: str) -> Iterable[tuple[str, bytes]]:
    if path == "-":
        yield "standard input", sys.stdin.buffer.read()
        return
    files = sorted(Path(path).glob("*.y*ml")) if Path(path).is_dir() else [Path(path)]
    for file in files:
        yield str(file), file.read_bytes()
