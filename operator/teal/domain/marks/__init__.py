"""What Teal writes on a collection, and the only memory that a migration has.

Qdrant keeps a JSON object, `metadata`, with every collection; a PATCH merges it key by key. Teal owns the keys
that begin with `teal.dev/`. The owner of a collection, its revision, the progress of its population and what was
decided about it are read from here on every reconcile, so a wiped status or a killed operator loses nothing.

Two rules. A mark counts only on the collection that it names: a snapshot restored under another name carries
blue's marks along, and must not be mistaken for it. And a mark that cannot be read is never guessed at: it is
reported as `damaged`, so that nothing is decided about a collection whose memory is lost or was written by a
newer Teal.
"""

from teal.domain.marks.kinds import (
    Baseline,
    Carried,
    Checkpoint,
    CutoverBegun,
    Declared,
    Declined,
    Encoder,
    Fence,
    Frozen,
    Hooks,
    InStep,
    Key,
    Mark,
    Migration,
    Owner,
    PairMark,
    Replaced,
    SideNote,
    Snapshots,
    Stale,
    StoredCheck,
    StoredSnapshot,
    StoredVerdict,
    Watched,
    is_mark,
    migration_id,
)
from teal.domain.marks.reader import Marks

__all__ = [
    "Baseline",
    "Carried",
    "Checkpoint",
    "CutoverBegun",
    "Declared",
    "Declined",
    "Encoder",
    "Fence",
    "Frozen",
    "Hooks",
    "InStep",
    "Key",
    "Mark",
    "Marks",
    "Migration",
    "Owner",
    "PairMark",
    "Replaced",
    "SideNote",
    "Snapshots",
    "Stale",
    "StoredCheck",
    "StoredSnapshot",
    "StoredVerdict",
    "Watched",
    "is_mark",
    "migration_id",
]
