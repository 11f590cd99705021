"""Which version of every point is known to be on green, and a digest of it that survives a crash.

Catching up compares two numbers for each point: the version that was copied and the version that blue has now.
The ledger holds the first. It lives in memory, because for millions of points nothing else is fast enough; what
is kept durably (in the collection mark `checkpoint`) is one 64-bit digest for each *bucket* of points. After a
crash one scan of blue's versions gives the digests again: a bucket whose digest is the same holds exactly the
points that were copied, at the versions that were copied, and need not be touched; any other is copied again.

Invariant: a version is recorded only after the point's content, read later than that version was noted, has been
durably applied to green. So a digest can be behind what green holds, never ahead of it.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from typing import Self

from teal.domain.marks import Checkpoint

RawId = bytes
CONTENT = 1 << 62
"""A version of at least this much is a digest of a point's content, of a server that tells no sequence number."""
DIGEST_BYTES = 8
UNKNOWN = -1
MIN_BUCKETS, MAX_BUCKETS, POINTS_PER_BUCKET = 16, 1024, 500


def is_content(version: int) -> bool:
    """Whether it stands for what the point holds, not for when it changed: equal content, equal version."""
    return version >= CONTENT


def buckets_for(points: int) -> int:
    """How many buckets suit a collection of `points` points: fine enough to resume, small enough to store."""
    return max(MIN_BUCKETS, min(MAX_BUCKETS, points // POINTS_PER_BUCKET))


def _digest(point: RawId, version: int) -> int:
    # Not a CRC: those are linear, and two equal version steps in one bucket would cancel out.
    content = point + version.to_bytes(8, "big", signed=True)
    return int.from_bytes(hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest(), "big")


class Digests:
    """One digest for each bucket: the exclusive or over its points, so order and grouping do not matter."""

    def __init__(self, buckets: int) -> None:
        self.values = [0] * buckets

    def bucket(self, point: RawId) -> int:
        return zlib.crc32(point) % len(self.values)

    def toggle(self, point: RawId, version: int) -> None:
        """Put (point, version) in if it is out, and out if it is in."""
        self.values[self.bucket(point)] ^= _digest(point, version)

    def checkpoint(self, highest: int | None = None) -> Checkpoint:
        width = DIGEST_BYTES * 2
        return Checkpoint(len(self.values), "".join(f"{v:0{width}x}" for v in self.values), highest)

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Self:
        """Those that `checkpoint` was made of.

        Raises:
            ValueError: it was not made of digests.
        """
        width, text = DIGEST_BYTES * 2, checkpoint.digests
        values = [int(text[i : i + width], 16) for i in range(0, len(text), width)]
        if not values or len(values) != checkpoint.buckets:
            raise ValueError(f"{len(values)} digests do not fill {checkpoint.buckets} buckets")
        found = cls(len(values))
        found.values = values
        return found


def fingerprint(versions: Mapping[RawId, int]) -> str:
    """One digest over a whole scan: equal exactly when no point was added, changed or deleted."""
    whole = Digests(1)
    for point, version in versions.items():
        whole.toggle(point, version)
    return f"{len(versions)}:{whole.values[0]:016x}"


class Ledger:
    """The versions that were copied, by point."""

    def __init__(self, buckets: int) -> None:
        self.versions: dict[RawId, int] = {}
        self.digests = Digests(buckets)

    def __len__(self) -> int:
        return len(self.versions)

    def record(self, copied: Mapping[RawId, int]) -> None:
        """These points are durably on green, at these versions or newer content."""
        for point, version in copied.items():
            old = self.versions.get(point)
            if old is not None:
                self.digests.toggle(point, old)
            self.digests.toggle(point, version)
            self.versions[point] = version

    def suspect(self, points: Iterable[RawId]) -> None:
        """These are on green, too, at nobody knows which version: to be copied again, or to be deleted."""
        self.record({point: UNKNOWN for point in points if point not in self.versions})

    def forget(self, points: Iterable[RawId]) -> None:
        """These points are gone from green."""
        for point in points:
            old = self.versions.pop(point, None)
            if old is not None:
                self.digests.toggle(point, old)

    def changed(self, page: Mapping[RawId, int]) -> dict[RawId, int]:
        """The points of a scanned page that are new or have moved. An unknown version always counts as moved."""
        known = self.versions
        return {p: v for p, v in page.items() if v < 0 or known.get(p) != v}


def ledger_of(versions: Mapping[RawId, int]) -> Ledger:
    """A ledger that knows `versions` already."""
    ledger = Ledger(buckets_for(len(versions)))
    ledger.record(versions)
    return ledger


def restore(seen: Mapping[RawId, int], checkpoint: Checkpoint | None, points: int) -> Ledger:
    """The ledger after a restart: what the checkpoint proves to be on green, given a scan `seen` of blue.

    One that was written when the source was at rest, or before it was scanned, may name the `highest` version
    of then: whatever has that or a lower one has not changed since. A checkpoint that cannot be read proves
    nothing, and everything is copied again.
    """
    if checkpoint is None:
        return Ledger(buckets_for(points))
    try:
        saved = Digests.of(checkpoint)
    except ValueError:
        return Ledger(buckets_for(points))
    now = Digests(len(saved.values))
    for point, version in seen.items():
        now.toggle(point, version)
    proven = [a == b for a, b in zip(saved.values, now.values, strict=True)]
    sure = sure_up_to(checkpoint)
    ledger = Ledger(len(saved.values))
    ledger.record({p: v for p, v in seen.items() if v >= 0 and (v <= sure or proven[now.bucket(p)])})
    return ledger


def highest(versions: Mapping[RawId, int]) -> int:
    """The last change among them; 0 where there is none that is numbered."""
    return max((version for version in versions.values() if not is_content(version)), default=0)


def checkpoint_of(versions: Mapping[RawId, int], sure: int | None = None) -> Checkpoint:
    """What `restore` reads; `sure` is the highest version, only where it is true of all points, as said there."""
    return ledger_of(versions).digests.checkpoint(sure)


def sure_up_to(checkpoint: Checkpoint | None) -> int:
    """The `highest` version that a checkpoint names, as `restore` has it; `UNKNOWN` if it names none."""
    return UNKNOWN if checkpoint is None or checkpoint.highest is None else checkpoint.highest
