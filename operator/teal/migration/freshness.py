"""What a new process must do before it believes what its peer shows of aliases, marks and the write-ahead log.

A peer of a cluster may lag behind the consensus. Then the last things that an earlier process has noted are
missing there: contents that it has carried look like the application's, and deleted points would be brought back.

Invariant: nothing is decided, and no mark is believed, before one decision of the consensus that went through the
peer that is read from was answered, and all was read again after it. The peer then shows everything that was
decided before this process began. It costs one decision for each resource, process and server, and nothing on a
single node. Where one address stands for several peers, the reads may be another peer's, and nothing helps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from teal.domain.ownership import mine
from teal.domain.plan import Identity
from teal.migration.session import Part, Session
from teal.qdrant.pool import Server


@dataclass
class Freshness(Part, survives_plan=True):
    """Whether what the server shows is not older than this session."""

    reached: bool = False

    def server_changed(self) -> None:
        self.reached = False


async def become_fresh(
    session: Session,
    server: Server,
    identity: Identity,
    alias: str,
    adopt: str | None,
    before_write: Callable[[], None],
) -> None:
    """Make sure that `observe` shows nothing older than this session, if anything of this resource is there.

    Raises:
        TransientError: the consensus has not answered.
    """
    freshness = session.part(Freshness)
    if freshness.reached:
        return
    ours = mine(await server.observe(alias, adopt), identity)
    if not ours:
        return  # no marks are there to be believed; whatever is made begins with a decision
    if await server.clustered():
        before_write()
        await server.touch(min(ours))
        await server.observe(alias, adopt, since=server.now())
    freshness.reached = True
