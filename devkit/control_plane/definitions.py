"""Brings CustomResourceDefinitions into a cluster and waits until their resources can be used."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

from devkit.control_plane import kubeconfig

SECONDS = 30.0


class NotServedError(RuntimeError):
    """A definition was applied, but its resources cannot be used."""


def apply(path: Path, folder: Path) -> None:
    """Apply every definition in `folder/*.yaml` server-side to the cluster of the kubeconfig at `path`.

    Returns when each is established and served.

    Raises `ValueError` if there is none or a file holds something else, `NotServedError` if one is not served in
    time, and the client's `ApiException` if the server refuses one.
    """
    definitions = read(folder)
    if not definitions:
        raise ValueError(f"{folder} holds no CustomResourceDefinition")
    with kubeconfig.client(path) as api_client:
        api = client.ApiextensionsV1Api(api_client)
        for definition in definitions:
            api.patch_custom_resource_definition(
                definition["metadata"]["name"],
                definition,
                field_manager="teal-devkit",
                force=True,
                _content_type="application/apply-patch+yaml",
            )
        for definition in definitions:
            _wait_served(api_client, definition)


def read(folder: Path) -> list[dict[str, Any]]:
    """The definitions in `folder/*.yaml`, in the order of the files' names."""
    found = []
    for file in sorted(folder.glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            if not isinstance(document, dict) or document.get("kind") != "CustomResourceDefinition":
                raise ValueError(f"{file} holds something else than a CustomResourceDefinition")
            found.append(document)
    return found


def _wait_served(api_client: client.ApiClient, definition: dict[str, Any]) -> None:
    name = definition["metadata"]["name"]
    deadline = time.monotonic() + SECONDS
    while not _served(api_client, definition):
        if time.monotonic() > deadline:
            state = client.ApiextensionsV1Api(api_client).read_custom_resource_definition(name)
            raise NotServedError(f"{name} is not served after {SECONDS:.0f} s: {state.status}")
        time.sleep(0.05)


def _served(api_client: client.ApiClient, definition: dict[str, Any]) -> bool:
    """Established, and listed: for a moment after the first, requests for the resource are still answered 404."""
    api = client.ApiextensionsV1Api(api_client)
    status = api.read_custom_resource_definition(definition["metadata"]["name"]).status
    conditions = {condition.type: condition.status for condition in (status and status.conditions) or ()}
    if conditions.get("Established") != "True":
        return False
    spec = definition["spec"]
    versions = [version["name"] for version in spec["versions"] if version["served"]]
    try:
        for version in versions:
            client.CustomObjectsApi(api_client).list_cluster_custom_object(
                spec["group"], version, spec["names"]["plural"], limit=1
            )
    except client.ApiException as error:
        if error.status == 404:
            return False
        raise
    return True
