"""Strict mode: the limits that the owner of a collection sets, checked before anything is done.

The rate limits are token buckets, one for each shown shard, full when the limit is set. A request that costs
more than a whole bucket can never pass, and its refusal says so. Any other refusal says when to retry.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

import qdrant_edge as edge

from devkit.qdrant.errors import bad_request, rate_limited

from . import filters

_MINUTE = 60.0


class Bucket:
    """`limit` tokens a minute, and at most that many saved."""

    def __init__(self, limit: int) -> None:
        self.limit = float(limit)
        self.tokens = self.limit
        self.seen = time.monotonic()

    def take(self, tokens: int, what: str) -> None:
        """Take `tokens`, or raise the refusal that says when they will be available."""
        if tokens > self.limit:
            raise rate_limited(
                f"{what}, request larger than rate limiter capacity, please try to split your request"
            )
        now = time.monotonic()
        self.tokens = min(self.limit, self.tokens + (now - self.seen) * self.limit / _MINUTE)
        self.seen = now
        if tokens > self.tokens:
            wait = math.ceil((tokens - self.tokens) * _MINUTE / self.limit)
            raise rate_limited(
                f"{what}: Operation requires {tokens} tokens but only {self.tokens:.1f} were available. "
                f"Retry after {wait}s",
                wait,
            )
        self.tokens -= tokens


class StrictMode:
    """The strict mode of one collection; everything passes where it is not enabled."""

    def __init__(self, config: dict[str, Any], shards: int) -> None:
        enabled = bool(config.get("enabled"))
        self.limits: dict[str, Any] = config if enabled else {}
        self.writes = _buckets(self.limits.get("write_rate_limit"), shards)
        self.reads = _buckets(self.limits.get("read_rate_limit"), shards)

    def left(self) -> list[tuple[float, float]]:
        """The state of the rate limits: tokens left, and when that was so on the system's monotonic clock."""
        return [(bucket.tokens, bucket.seen) for bucket in (*self.writes, *self.reads)]

    def fill(self, left: Sequence[tuple[float, float]]) -> None:
        """Set the rate limits to the state of another process."""
        for bucket, (tokens, seen) in zip((*self.writes, *self.reads), left, strict=True):
            bucket.tokens, bucket.seen = tokens, seen

    def limit(self, name: str) -> Any:
        return self.limits.get(name)

    def write(self, cost_by_shard: Iterable[tuple[int, int]]) -> None:
        """Take the cost of a write (its points, by shard) from the buckets."""
        if self.writes:
            for shard, cost in cost_by_shard:
                self.writes[shard].take(cost, "Write rate limit exceeded")

    def read(self, cost: int = 1) -> None:
        """Take the cost of a read, which asks every shard."""
        for bucket in self.reads:
            bucket.take(cost, "Read rate limit exceeded")

    def upsert(self, points: int) -> None:
        self._at_most("upsert_max_batchsize", points, "upsert limit")

    def query(self, limit: int | None, params: edge.SearchParams | None) -> None:
        self._at_most("max_query_limit", limit, "limit")
        if params is None:
            return
        if params.exact and self.limit("search_allow_exact") is False:
            raise bad_request("Exact search disabled!. Help: Set exact=false.")
        self._at_most("search_max_hnsw_ef", params.hnsw_ef, "hnsw_ef")

    def batch(self, queries: int) -> None:
        self._at_most("search_max_batchsize", queries, "searches")

    def filter(self, given: edge.Filter | None, indexed: Iterable[str], *, writes: bool = False) -> None:
        """Refuse a filter on fields without an index, or with a long list in it, where that is not allowed."""
        name = "unindexed_filtering_update" if writes else "unindexed_filtering_retrieve"
        if given is None:
            return
        for key, kind in filters.keys(given) if self.limit(name) is False else ():
            if key not in indexed:
                raise bad_request(
                    f'Index required but not found for "{key}" of one of the following types: [{kind}]. '
                    "Help: Create an index for this key or use a different filter."
                )
        longest = self.limit("condition_max_size")
        if longest is not None and (size := filters.longest_list(given)) > longest:
            raise bad_request(
                f"Condition size limit reached ({size} > {longest}). Help: Reduce the size of your condition."
            )

    def _at_most(self, name: str, value: int | None, shown: str) -> None:
        limit = self.limit(name)
        if limit is not None and value is not None and value > limit:
            raise bad_request(
                f'Limit exceeded {value} > {limit} for "{shown}". '
                f'Help: Reduce the "{shown}" parameter to or below {limit}.'
            )

    def sizes(self, points: int, vector_bytes: int, payload_bytes: int) -> None:
        """Refuse a write that adds points to a collection that is full."""
        for name, value, what in (
            ("max_points_count", points, "Max points count"),
            ("max_collection_vector_size_bytes", vector_bytes, "Max vector storage size"),
            ("max_collection_payload_size_bytes", payload_bytes, "Max payload storage size"),
        ):
            limit = self.limit(name)
            if limit is not None and value >= limit:
                unit = "" if name == "max_points_count" else " bytes"
                raise bad_request(f"{what} limit of {limit}{unit} exceeded!")

    @property
    def limits_sizes(self) -> bool:
        names = ("max_points_count", "max_collection_vector_size_bytes", "max_collection_payload_size_bytes")
        return any(self.limit(name) is not None for name in names)


def _buckets(limit: int | None, shards: int) -> Sequence[Bucket]:
    return [Bucket(limit) for _ in range(shards)] if limit else []
