"""Manifests as the command line reads them: files, folders or standard input, with Secrets and ConfigMaps.

Without a cluster, identity comes from namespace and name: the same manifest is the same resource on every
machine. ConfigMaps come from manifests given alongside, Secrets too, or from the environment.
"""

from __future__ import annotations

import base64
import os
import re
import sys
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from teal.api.embedding_set import EmbeddingSet
from teal.api.manifest import ManifestError, parse
from teal.api.vector_collection import VectorCollection
from teal.domain.errors import TerminalError
from teal.migration.contract import Resource

CLUSTER = "no-cluster"
DEFAULT_NAMESPACE = "default"
_NAMESPACE_UUID = uuid.UUID("6f0b9f36-6a0e-5d5e-9f0c-7ea17ea17ea1")


@dataclass
class FileSecrets:
    """Secrets from manifests and from `TEAL_SECRET_<NAME>_<KEY>` variables, ConfigMaps from manifests alone.

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
        where = metadata.get("namespace") or namespace
        self.config_maps[where, metadata["name"]] = {k: str(v) for k, v in (manifest.get("data") or {}).items()}

    def add(self, manifest: Mapping[str, Any]) -> None:
        metadata = manifest.get("metadata") or {}
        plain = {k: str(v) for k, v in (manifest.get("stringData") or {}).items()}
        coded = {k: base64.b64decode(v).decode() for k, v in (manifest.get("data") or {}).items()}
        self.data[metadata.get("namespace") or DEFAULT_NAMESPACE, metadata["name"]] = coded | plain


@dataclass
class Manifests:
    """What was read: resources ready for the engine, and where their secrets come from."""

    resources: list[Resource]
    secrets: FileSecrets


def load(paths: Iterable[str], namespace: str = DEFAULT_NAMESPACE) -> Manifests:
    """Read `paths` (`-` is standard input, a folder all its YAML files).

    Raises:
        ManifestError: a document of ours is not valid, or there is none.
        OSError: a path cannot be read.
    """
    secrets, sets, collections = FileSecrets(), {}, []
    for document in _documents(paths):
        kind = document.get("kind")
        if kind == "Secret":
            secrets.add(document)
        elif kind == "ConfigMap":
            secrets.add_config_map(document, namespace)
        elif str(document.get("apiVersion", "")).startswith("teal.dev/"):
            model = parse(document)
            where = model.metadata.namespace or namespace
            if isinstance(model, EmbeddingSet):
                sets[where, model.metadata.name] = model
            else:
                collections.append((where, model))
    if not collections:
        raise ManifestError("the input", ["no VectorCollection among the manifests"])
    return Manifests([_resource(where, model, sets) for where, model in collections], secrets)


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
            try:
                found = list(yaml.safe_load_all(text))
            except yaml.YAMLError as error:
                raise ManifestError(label, [f"is not YAML: {error}"]) from error
            yield from (document for document in found if isinstance(document, Mapping))


def _texts(path: str) -> Iterable[tuple[str, str]]:
    if path == "-":
        yield "standard input", sys.stdin.read()
        return
    files = sorted(Path(path).glob("*.y*ml")) if Path(path).is_dir() else [Path(path)]
    for file in files:
        yield str(file), file.read_text(encoding="utf-8")
