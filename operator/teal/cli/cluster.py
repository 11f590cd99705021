"""What `teal status` reads from the API server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient, ApiException, CustomObjectsApi

from teal.api.common import GROUP, VERSION
from teal.controller.connection import Connection, NoClusterError, connect

PLURAL = "vectorcollections"


NOT_FOUND = 404


class ClusterError(Exception):
    """The API server gave no answer; the message says why."""


async def list_collections(
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    everywhere: bool,  # noqa: FBT001
) -> tuple[str, list[dict[str, Any]]]:
    """The VectorCollections of one namespace or of all, as the API server has them; and that place in words.

    Raises:
        ClusterError: there is no cluster to ask, or it refused.
    """
    try:
        found = await connect(Path(kubeconfig) if kubeconfig else None, context)
        where = None if everywhere else namespace or found.namespace
        return f"namespace {where}" if where else "the cluster", await _list(found, where)
    except NoClusterError as error:
        raise ClusterError(str(error)) from error
    except ApiException as error:
        raise ClusterError(_explained(error)) from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ClusterError(f"the API server did not answer: {str(error) or type(error).__name__}") from error


async def _list(found: Connection, namespace: str | None) -> list[dict[str, Any]]:
    async with ApiClient(found.configuration) as client:
        api = CustomObjectsApi(client)
        answer: Any
        if namespace is None:
            answer = await api.list_cluster_custom_object(GROUP, VERSION, PLURAL)
        else:
            answer = await api.list_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL)
    return list(answer["items"])


def _explained(error: ApiException) -> str:
    if error.status == NOT_FOUND:
        return "the cluster does not know VectorCollections; run: teal crds | kubectl apply --server-side -f -"
    return f"the API server refused ({error.status} {error.reason})"
