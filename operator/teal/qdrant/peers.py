"""The peers of a cluster, each known by its `peer_id` and not by its address.

`/cluster` lists the peers with the addresses that they have for each other, which need not lead anywhere from
here: one address may stand for all of them (a Service, an Ingress, a port-forward), or another server may answer
there. So a peer counts as found only if it says itself that it is that peer. What was told by peers that were not
found is told to people in words, and nothing is concluded about them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from teal.domain.errors import TealError, TransientError
from teal.qdrant.together import all_of

if TYPE_CHECKING:
    from teal.qdrant.admin import Admin

SINGLE = 0
"""The id of the only peer, where Qdrant does not run as a cluster."""
SILENT_SECONDS = 10.0
"""For how long an address that led nowhere is not asked again: a connection that times out takes long."""


@dataclass(frozen=True)
class Peer:
    """A peer that answers under its own id. `root` is the root of its REST interface."""

    id: int
    root: str


@dataclass(frozen=True)
class Peers:
    """All peers of a cluster. The first of `found` is the one that is asked for everything that one peer can do.

    `missing` says in words which peers were not found, and why. `commit` is how many operations the consensus has
    committed, as the first peer knows; `None` without a cluster.
    """

    found: tuple[Peer, ...]
    missing: tuple[str, ...] = ()
    commit: int | None = None

    @property
    def whole(self) -> bool:
        """Whether every peer was found."""
        return not self.missing

    @property
    def single(self) -> bool:
        """Whether Qdrant does not run as a cluster: a change is in force when it is answered."""
        return self.commit is None and self.whole

    @property
    def hidden(self) -> bool:
        """Whether one address stands for several peers. The consensus needs a majority, so if it works, there are
        other peers, though none of them can be reached from here."""
        return len(self.found) <= 1 and bool(self.missing)

    def require_reachable(self) -> None:
        """Where peers can be reached from here, a missing one is down or cut off: wait for it.

        Raises:
            TransientError: reason `PeerUnreachable`.
        """
        if self.missing and not self.hidden:
            raise TransientError(
                "PeerUnreachable",
                f"Not every peer of the cluster can be asked: {'; '.join(self.missing)}. Bring it back, or remove "
                "it from the cluster if it is gone for good.",
            )


class Silent:
    """The addresses that led nowhere a moment ago, and why."""

    def __init__(self) -> None:
        self._until: dict[str, tuple[float, str]] = {}

    def why(self, root: str) -> str | None:
        until, why = self._until.get(root, (0.0, ""))
        return why if _now() < until else None

    def remember(self, root: str, why: str) -> None:
        self._until[root] = _now() + SILENT_SECONDS, why


async def identify(admin: Admin) -> Peers:
    """Ask every peer who it is. Raises only if `admin`'s own address does not answer."""
    told = await admin.cluster()
    if told.get("status") != "enabled":
        return Peers((Peer(SINGLE, admin.endpoint.root),))
    listed = {int(peer): admin.endpoint.peer_root(at["uri"]) for peer, at in told["peers"].items()}
    own, ids = int(told["peer_id"]), sorted(listed)
    problems = dict(zip(ids, await all_of(_problem(admin, peer, listed[peer]) for peer in ids), strict=True))
    found = [Peer(peer, listed[peer]) for peer in ids if problems[peer] is None]
    if problems.get(own) is not None:
        found.append(Peer(own, admin.endpoint.root))
    found.sort(key=lambda peer: (peer.id != own, peer.id))
    missing = tuple(str(problems[peer]) for peer in ids if problems[peer] is not None and peer != own)
    return Peers(tuple(found), missing, _commit(told))


async def _problem(admin: Admin, peer: int, root: str) -> str | None:
    """Why this peer is not found at this address; `None` if it is."""
    silent = admin.silent.why(root)
    if silent:
        return silent
    try:
        told = await admin.cluster(root)
    except TealError as error:
        why = f"peer {peer} does not answer at {root} ({error.reason})"
        admin.silent.remember(root, why)
        return why
    answers = told.get("peer_id")
    return None if answers == peer else f"at {root} peer {answers} answers instead of peer {peer}"


def _commit(told: Mapping[str, Any]) -> int | None:
    raft = told.get("raft_info") or {}
    return int(raft["commit"]) if raft.get("commit") is not None else None


def _now() -> float:
    return asyncio.get_running_loop().time()
