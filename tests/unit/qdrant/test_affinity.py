"""Where a token pins reads to one replica of each shard, and where it is not paid attention to."""

from __future__ import annotations

from typing import Any

import pytest

from teal.domain.marks import Marks
from teal.domain.observed import CollectionState, Version
from teal.domain.schema import Schema
from teal.qdrant import affinity


def state(**params: Any) -> CollectionState:
    config = {"params": {"replication_factor": 2, **params}}
    return CollectionState("docs", Schema(()), config, {}, "green", 0, 0, 0, Marks.read("docs", {}))


@pytest.mark.parametrize(
    ("version", "params", "pinned"),
    [
        (Version(1, 18, 9), {}, False),
        (Version(1, 19), {}, True),
        (Version(2, 0), {"read_fan_out_factor": None, "read_fan_out_delay_ms": 0}, True),
        (Version(1, 19), {"read_fan_out_factor": 1}, False),
        (Version(1, 19), {"read_fan_out_delay_ms": 5}, False),
    ],
)
def test_reads_are_pinned(version: Version, params: Any, pinned: bool) -> None:
    assert affinity.holds(version, state(**params)) is pinned


def test_every_token_is_another_one_and_can_be_sent() -> None:
    tokens = {affinity.new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(token.isascii() and token.isalnum() for token in tokens)
