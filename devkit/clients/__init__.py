"""Counting clients: they use an alias all through a migration, and know afterwards what must be there.

ledger = load(url, "docs", entries)
with Clients.start(Workload(url=url, alias="docs", entries=entries), ledger) as clients:
    ...  # migrate
assert clients.counts().failures == 0
assert audit(url, "docs", clients.ledger).ok
"""

from devkit.clients.audit import Audit, audit
from devkit.clients.counts import Counts
from devkit.clients.encoding import Encoder, hashed
from devkit.clients.ledger import Held, Ledger, PointId
from devkit.clients.load import load
from devkit.clients.process import Clients
from devkit.clients.workload import Workload

__all__ = [
    "Audit",
    "Clients",
    "Counts",
    "Encoder",
    "Held",
    "Ledger",
    "PointId",
    "Workload",
    "audit",
    "hashed",
    "load",
]
