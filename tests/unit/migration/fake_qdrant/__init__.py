"""A Qdrant in memory, behind the real gateway: `Admin` and `Points` as they are, but for the one call to a server.

By default it is one node where nothing takes time. With more peers it does what a cluster does and what a
migration must survive: every replica numbers its operations by itself, reads wander between replicas, peers learn
late what consensus has decided, a request through one peer is refused by the limit of another one's replica, and
an operation that has been acknowledged may still be under way. `Pace` says how long things take; the methods of
`FakeQdrant` below *Events* are what happens to a cluster. All of it follows the clock that the server is given, so
a story can be told again.
"""

from tests.unit.migration.fake_qdrant.clients import Carry, Effect, FakeAdmin, FakePoints, server_of
from tests.unit.migration.fake_qdrant.replica import Pace, Stored
from tests.unit.migration.fake_qdrant.server import FakeQdrant

__all__ = ["Carry", "Effect", "FakeAdmin", "FakePoints", "FakeQdrant", "Pace", "Stored", "server_of"]
