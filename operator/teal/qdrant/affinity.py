"""Reads that stay with one replica of each shard, so that what they answer can be compared.

The number of a point's last change belongs to one replica, and Qdrant answers a read from whichever replica it
likes. From 1.19 on a read may carry a token: replicas are then chosen by a hash of token and peer, the same on
every peer. All reads whose answers are compared (ids, versions, contents, counts) carry one token.

A token is a wish. The choice changes with the replicas that can be read (a peer restarts, a shard moves), and a
read falls back to another replica when the chosen one fails; so versions are compared only as long as placement
and states of the replicas are the same. `holds` says where the wish has no effect at all.
"""

from __future__ import annotations

import secrets
from typing import Final

from teal.domain.observed import CollectionState, Version

HEADER: Final = "x-qdrant-route-affinity"
"""The name of the REST header, and of the gRPC metadata."""

SINCE: Final = Version(1, 19)

_FAN_OUT: Final = ("read_fan_out_factor", "read_fan_out_delay_ms")


def new_token() -> str:
    """A token of one's own; which replicas it leads to is left to chance."""
    return secrets.token_hex(8)


def fans_out(state: CollectionState) -> bool:
    """Whether the collection is configured to ask several replicas for each read, so that no token holds."""
    params = state.config.get("params") or {}
    return any(params.get(name) for name in _FAN_OUT)


def holds(version: Version, state: CollectionState) -> bool:
    """Whether reads of this collection that carry one token come from one replica of each shard.

    Not before 1.19, and not where the collection is configured to ask several replicas for each read.
    """
    return version >= SINCE and not fans_out(state)
