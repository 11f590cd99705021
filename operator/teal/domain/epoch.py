"""For how long the versions of a collection's points can be compared with each other.

A version is the number that one replica gave to a change. It says something only as long as the same replicas
answer: another replica has other numbers for the same points, and one that was made anew has low numbers, some
of them equal to old ones by accident. An `Epoch` names everything by which this can change unnoticed. It is read
before a scan and again after the contents of that scan; versions, and numbers of operations, are compared only
between scans of one epoch.

Invariant: in doubt the epoch has ended. Then contents decide, which costs time and never a write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True, order=True)
class Replica:
    """One copy of one shard; `state` is Qdrant's own word (Active, Dead, Partial, …)."""

    shard: int
    peer: int
    state: str = "Active"


@dataclass(frozen=True)
class Epoch:
    """What must stay as it is for versions to mean anything.

    Attributes:
        instance: the random mark that the collection got when it was created; a new one under the same name has
            another. Empty: it has none (a collection that was adopted), and its name stands for it.
        replicas: where the shards are, and in which state.
        starts: when the process of each peer started, as the peer tells it.
        commit: how many operations of the cluster's consensus were committed. `None`: the server is one node that
            has no consensus. Where there is one and it cannot be asked, there is no epoch at all.
        own_commits: how many of these this process has caused; they move no replica.
        counted_by: a random name of this process's count, by which it knows again what it has noted itself.
        fan_out: the collection's reads go to several replicas at once, so nobody knows which one answers.
        pinned: all reads carry one route-affinity token, so that the same replica of a shard answers.
    """

    instance: str
    replicas: tuple[Replica, ...]
    starts: tuple[tuple[int, str], ...]
    commit: int | None = None
    own_commits: int = 0
    fan_out: bool = False
    pinned: bool = True
    counted_by: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "replicas", tuple(sorted(self.replicas)))
        object.__setattr__(self, "starts", tuple(sorted(self.starts)))

    @property
    def foreign_commits(self) -> int | None:
        """The operations of the consensus that were not Teal's."""
        return None if self.commit is None else self.commit - self.own_commits

    @property
    def replicated(self) -> bool:
        """Whether some shard has more than one replica."""
        return len({replica.shard for replica in self.replicas}) < len(self.replicas)

    def same_as(self, later: Epoch) -> bool:
        """Whether versions that were read now and at `later` can be compared."""
        return self.ended_by(later) is None

    def noted(self, own: int = 0) -> str:
        """This epoch as a mark keeps it, for `is_noted_as`, in this process or in another one.

        `own` is how many more of this process's operations will be committed by the time the mark stands there.
        """
        if self.commit is None:
            return self._digest(None)
        return f"{self._digest(self.commit + own)}/{self.counted_by}/{self.own_commits + own}"

    def is_noted_as(self, note: str) -> bool:
        """Whether this is the noted epoch still: all that was committed since is this process's own.

        What another process has noted, it has noted before this one caused anything.
        """
        if self.commit is None:
            return note == self._digest(None)
        digest, _, count = note.partition("/")
        counted_by, _, before = count.rpartition("/")
        since = self.own_commits - (int(before) if counted_by == self.counted_by and before.isdecimal() else 0)
        return digest == self._digest(self.commit - since)

    def _digest(self, commit: int | None) -> str:
        parts = (self.instance, self.replicas, self.starts, commit, self.fan_out, self.pinned)
        return hashlib.blake2b(repr(parts).encode(), digest_size=12).hexdigest()

    def ended_by(self, later: Epoch) -> str | None:
        """Why versions of now and of `later` cannot be compared, for people; `None` if they can."""
        return next((why for why, holds in self._reasons(later) if holds), None)

    def _reasons(self, later: Epoch) -> Iterable[tuple[str, bool]]:
        yield "the collection was created anew", self.instance != later.instance
        yield "the collection's reads fan out to several replicas", self.fan_out or later.fan_out
        unpinned = not (self.pinned and later.pinned)
        yield "reads cannot be pinned to one replica of each shard", unpinned and self.replicated
        yield "where its replicas are, or their states, have changed", self.replicas != later.replicas
        yield "no replica of the collection was found", not self.replicas
        yield "a peer was started again", self.starts != later.starts
        yield "the cluster's consensus has moved", self.foreign_commits != later.foreign_commits


@dataclass(frozen=True)
class Floors:
    """How far each shard had come when a scan began: the `op_num` of the replicas that answer it.

    Each shard counts for itself, and which shard a point is on is not known. What has a version of at most `low`
    had it then; what is above `high` came later; in between nobody can tell. With one shard both are the same.
    """

    low: int
    high: int

    @classmethod
    def of(cls, numbers: Iterable[int]) -> Self:
        """From the `op_num` of every shard.

        Raises:
            ValueError: there is no shard.
        """
        found = sorted(numbers)
        if not found:
            raise ValueError("a collection has at least one shard")
        return cls(found[0], found[-1])


@dataclass(frozen=True)
class Scan:
    """The circumstances of one scan: where its shards stood when it began, and the epoch around it.

    `epoch` is `None` if it could not be read, or was another one after the contents were read than before.
    """

    floors: Floors
    epoch: Epoch | None

    @classmethod
    def between(cls, before: Epoch | None, floors: Floors, after: Epoch | None) -> Self:
        """A scan whose epoch was read before it and once more after the contents."""
        whole = before is not None and after is not None and before.same_as(after)
        return cls(floors, after if whole else None)


def comparable(previous: Scan | None, current: Scan) -> Floors | None:
    """The previous scan's floors, if the versions of both scans can be compared."""
    if previous is None or previous.epoch is None or current.epoch is None:
        return None
    return previous.floors if previous.epoch.same_as(current.epoch) else None
