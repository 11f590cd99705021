"""`/metrics`: a few of a real server's series, by their names.

With `per_collection` the request counters carry the name that was in the request, which may be an alias, and
the gauges the collection's own, as on a real server.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from .service import Service

_NAME = "name"
Key = tuple[str, str, str, str]  # interface, method and endpoint, collection, status


class Metrics:
    """Counts requests, and writes the exposition format."""

    def __init__(self) -> None:
        self._requests: Counter[Key] = Counter()

    def rest(self, request: web.Request, status: int) -> None:
        resource = request.match_info.route.resource
        endpoint = resource.canonical if resource is not None else request.path
        name = request.match_info.get(_NAME, "")
        self._requests["rest", f'method="{request.method}",endpoint="{endpoint}"', name, str(status)] += 1

    def grpc(self, method: str, collection: str, status: int) -> None:
        self._requests["grpc", f'endpoint="/{method}"', collection, str(status)] += 1

    async def text(self, service: Service, *, per_collection: bool) -> bytes:
        """All series, one a line."""
        lines = [
            f'app_info{{name="qdrant",version="{service.settings.report_version}"}} 1',
            f"cluster_enabled {int(service.settings.peers > 1)}",
            f"collections_total {len(service.collections)}",
            *self._request_lines(per_collection=per_collection),
        ]
        for name, collection in list(service.collections.items()):
            info = await collection.info()
            lines += [
                f'collection_points{{id="{name}"}} {info["points_count"]}',
                f'collection_running_optimizations{{id="{name}"}} {int(collection.optimizing)}',
                f'collection_update_queue_length{{id="{name}"}} 0',
            ]
        return "".join(f"{line}\n" for line in lines).encode()

    def _request_lines(self, *, per_collection: bool) -> list[str]:
        totals: Counter[str] = Counter()
        for (interface, labels, collection, status), count in self._requests.items():
            if per_collection and not collection:
                continue
            whose = f',collection="{_escaped(collection)}"' if per_collection else ""
            totals[f'{interface}_responses_total{{{labels}{whose},status="{status}"}}'] += count
        return [f"{series} {count}" for series, count in totals.items()]


def _escaped(label: str) -> str:
    """A label's value; the name in a refused request may be anything."""
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
