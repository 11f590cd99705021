"""What a user of Teal does with the API server: apply manifests, read the resource, describe it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import yaml
from kubernetes import client, watch

Manifest = dict[str, Any]

GROUP, VERSION = "teal.dev", "v1alpha1"
PLURALS = {"EmbeddingSet": "embeddingsets", "VectorCollection": "vectorcollections"}
MANAGER = "gitops"
HIDDEN = "managedFields"
WATCH_SECONDS = 10


class Cluster:
    """One namespace of a cluster, through a client with all permissions."""

    def __init__(self, kubeconfig: Path, api_client: client.ApiClient, namespace: str) -> None:
        self.kubeconfig = kubeconfig
        self.namespace = namespace
        self._core = client.CoreV1Api(api_client)
        self._objects = client.CustomObjectsApi(api_client)
        self._events = client.EventsV1Api(api_client)

    def create_namespace(self) -> None:
        self._core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=self.namespace)))

    def delete_namespace(self) -> None:
        """Ask for the namespace's deletion; a control plane without controllers only marks it."""
        self._core.delete_namespace(self.namespace)

    def create_secret(self, name: str, data: dict[str, str]) -> None:
        secret = client.V1Secret(metadata=client.V1ObjectMeta(name=name), string_data=data)
        self._core.create_namespaced_secret(self.namespace, secret)

    def patch_secret(self, name: str, data: dict[str, str]) -> None:
        """Set keys of a Secret that exists; others stay."""
        self._core.patch_namespaced_secret(name, self.namespace, {"stringData": data})

    def apply(self, manifests: Iterable[Manifest]) -> None:
        """Server-side apply, as GitOps tools do."""
        for manifest in manifests:
            self._objects.patch_namespaced_custom_object(
                GROUP,
                VERSION,
                self.namespace,
                PLURALS[manifest["kind"]],
                manifest["metadata"]["name"],
                manifest,
                field_manager=MANAGER,
                force=True,
                _content_type="application/apply-patch+yaml",
            )

    def get(self, kind: str, name: str) -> Manifest:
        where = (GROUP, VERSION, self.namespace, PLURALS[kind])
        return cast("Manifest", self._objects.get_namespaced_custom_object(*where, name))

    def all(self, kind: str) -> list[Manifest]:
        """All objects of a kind in the namespace."""
        answer: Any = self._objects.list_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURALS[kind])
        return cast("list[Manifest]", answer["items"])

    def patch(self, kind: str, name: str, patch: Manifest, *, status: bool = False) -> Manifest:
        """Merge `patch` into the resource, or into its status; `None` removes what is there."""
        objects = self._objects
        write = objects.patch_namespaced_custom_object_status if status else objects.patch_namespaced_custom_object
        where = (GROUP, VERSION, self.namespace, PLURALS[kind])
        return cast("Manifest", write(*where, name, patch, _content_type="application/merge-patch+json"))

    def delete(self, kind: str, name: str) -> None:
        """Ask for the deletion of one resource."""
        self._objects.delete_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURALS[kind], name)

    def resource_version(self, kind: str) -> str:
        """The resource version of the list of all resources of this kind: the start for `versions`."""
        found: Any = self._objects.list_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURALS[kind])
        return str(found["metadata"]["resourceVersion"])

    def versions(self, kind: str, name: str, since: str) -> list[Manifest]:
        """Every version of a resource that is younger than the resource version `since`, oldest first."""
        last = self.get(kind, name)["metadata"]["resourceVersion"]
        found: list[Manifest] = []
        if last == since:
            return found
        stream = watch.Watch().stream(  # type: ignore[no-untyped-call]
            self._objects.list_namespaced_custom_object,
            GROUP,
            VERSION,
            self.namespace,
            PLURALS[kind],
            resource_version=since,
            field_selector=f"metadata.name={name}",
            timeout_seconds=WATCH_SECONDS,
        )
        for event in stream:
            found.append(event["object"])
            if event["object"]["metadata"]["resourceVersion"] == last:
                break
        stream.close()
        return found

    def delete_all(self) -> None:
        """Delete every resource of Teal in the namespace."""
        for plural in reversed(PLURALS.values()):
            self._objects.delete_collection_namespaced_custom_object(GROUP, VERSION, self.namespace, plural)

    def describe(self, kind: str, name: str) -> str:
        """The resource as `kubectl describe` prints it; by kubectl itself if it is installed."""
        kubectl = shutil.which("kubectl")
        if kubectl:
            command = [kubectl, "describe", kind.lower(), name, "-n", self.namespace]
            environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
            return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        return self._described(self.get(kind, name))

    def _described(self, found: Manifest) -> str:
        found["metadata"].pop(HIDDEN, None)
        found = json.loads(json.dumps(found))
        events = [f"  {e['type']:<8} {e['reason']:<20} {e['note']}" for e in self.events(found["metadata"]["uid"])]
        return yaml.safe_dump(found, sort_keys=False, width=110) + "Events:\n" + "\n".join(events)

    def events(self, uid: str) -> list[dict[str, Any]]:
        """The Events about an object, oldest first."""
        found = self._events.list_namespaced_event(self.namespace).items
        about = [event for event in found if event.regarding and event.regarding.uid == uid]
        rows = [{"type": e.type, "reason": e.reason, "note": e.note, "at": e.event_time} for e in about]
        return sorted(rows, key=lambda row: str(row["at"]))
