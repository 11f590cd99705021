"""What the ledger of a collection costs: memory and time of building it, and of a pass that finds changes.

    python -m benchmarks.ledger [--sizes 100000 1000000] [--slice 100000] [--changed 0.01] [--only-columns]

No server is asked: points come from a generator, slice by slice and in no order, as a scan yields them. Beside
the columns, in the same run, the same work with two dicts of ids and versions, up to 10⁶ points. Each
figure is of a process of its own: `peak` is the most that it had resident above its start, `longest` the most CPU
time between two moments at which an event loop could have turned.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from teal.domain import keys as k
from teal.domain.buckets import Buckets, buckets_for
from teal.domain.columns import Columns, Gathered, Versions, aligned
from teal.domain.keys import Keys
from teal.domain.ledger import difference, forget, held, record
from teal.migration.copying.scratch import Scratch, Stored

PAGE = 5_000
DICT_UP_TO = 1_000_000
MIB = 1 << 20
Page = tuple[Keys, Versions]


@dataclass(frozen=True)
class Case:
    ledger: str
    ids: str
    points: int
    slice: int
    changed: float


@dataclass(frozen=True)
class Phase:
    """CPU seconds; the longest piece in milliseconds of CPU; points that there was something to do about."""

    seconds: float
    longest: float
    found: int


@dataclass(frozen=True)
class Result:
    """Building the ledger, a pass that finds changes and notes them, a look that finds none; MiB."""

    build: Phase
    changes: Phase
    look: Phase
    peak: float
    disk: float

    @property
    def seconds(self) -> float:
        return self.build.seconds + self.changes.seconds + self.look.seconds


class Pieces:
    """The CPU time between two calls of `turn`, which is where an event loop would turn: all of it, and the most.

    Not the time of the clock: that is other processes' too.
    """

    def __init__(self) -> None:
        self._all = self._longest = 0.0
        self._last = time.process_time()

    def turn(self) -> None:
        now = time.process_time()
        took, self._last = now - self._last, now
        self._all += took
        self._longest = max(self._longest, took)

    def skip(self) -> None:
        """What was done since is not the ledger's work."""
        self._last = time.process_time()

    def over(self, found: int) -> Phase:
        return Phase(round(self._all, 2), round(self._longest * 1000, 1), found)


def scanned(case: Case, *, moved: bool) -> Iterator[Iterator[Page]]:
    """Every slice as pages in no order; when `moved`, some points have another version and some are gone."""
    for number, start in enumerate(range(0, case.points, case.slice)):
        rng = np.random.default_rng(number)
        count = min(case.slice, case.points - start)
        if case.ids == "uuid":
            keys = k.uuid_keys(rng.bytes(16 * count))
        else:
            # A slice takes its share of ids from everywhere.
            keys = k.integer_keys(
                rng.permutation(count).astype(np.uint64) * np.uint64(case.points) + np.uint64(number)
            )
        versions = rng.integers(1, 1 << 40, count)
        if moved:
            versions[rng.random(count) < case.changed] += 1
            keep = np.flatnonzero(rng.random(count) >= case.changed / 10)
            keys, versions = k.take(keys, keep), versions[keep]
        yield pages(keys, versions)


def pages(keys: Keys, versions: Versions) -> Iterator[Page]:
    for start in range(0, len(keys), PAGE):
        part = slice(start, start + PAGE)
        yield k.take(keys, part), versions[part]


def gathered(slice_: Iterable[Page], pieces: Pieces) -> Gathered:
    pieces.skip()
    found = Gathered()
    for keys, versions in slice_:
        pieces.skip()
        found.add(keys, versions)
        pieces.turn()
    return found


def with_digests(columns: Columns, number: int) -> Columns:
    return replace(columns, digests=np.full(len(columns), number, np.uint64))


def with_columns(case: Case, scratch: Scratch) -> tuple[Phase, Phase, Phase]:
    stored, buckets = [], Buckets(buckets_for(case.points))
    building = Pieces()
    for slice_ in scanned(case, moved=False):
        writer = scratch.writer()
        for piece in gathered(slice_, building).stream():
            known = with_digests(piece, 1)
            buckets.add(known)
            writer.append(known)
            building.turn()
        stored.append(writer.finish())
    built = building.over(sum(map(len, stored)))
    return built, noted(case, scratch, stored, buckets), looked_at(case, stored)


def noted(case: Case, scratch: Scratch, stored: list[Stored], buckets: Buckets) -> Phase:
    """A pass: what has changed is found, noted in a new file, and summed up in the durable marks."""
    passing, found = Pieces(), 0
    for number, slice_ in enumerate(scanned(case, moved=True)):
        writer, seen = scratch.writer(), gathered(slice_, passing).stream()
        for known, now in aligned(stored[number].stream(), seen):
            todo = difference(known, now)
            written = with_digests(todo.read, 2)
            buckets.remove(held(known, todo.read.keys))
            buckets.remove(held(known, todo.gone))
            buckets.add(written)
            writer.append(record(forget(known, todo.gone), written))
            found += len(todo)
            passing.turn()
        stored[number].drop()
        stored[number] = writer.finish()
    return passing.over(found)


def looked_at(case: Case, stored: list[Stored]) -> Phase:
    """The pass under the fence: versions only, and nothing has changed."""
    looking, found = Pieces(), 0
    for number, slice_ in enumerate(scanned(case, moved=True)):
        seen = gathered(slice_, looking).stream()
        for known, now in aligned(stored[number].stream(), seen):
            found += len(difference(known, now))
            looking.turn()
    return looking.over(found)


def with_dicts(case: Case) -> tuple[Phase, Phase, Phase]:
    """The same as it was done before: a dict of what is known and one of what is seen."""
    pieces, known = Pieces(), dict[bytes, int]()
    seen_by(case, pieces, known.update, moved=False)
    phases = [pieces.over(len(known))]
    for _ in ("a pass", "a look"):
        pieces, seen = Pieces(), dict[bytes, int]()
        seen_by(case, pieces, seen.update, moved=True)
        changed = {point: version for point, version in seen.items() if known.get(point) != version}
        gone = [point for point in known if point not in seen]
        known.update(changed)
        for point in gone:
            del known[point]
        pieces.turn()
        phases.append(pieces.over(len(changed) + len(gone)))
    return phases[0], phases[1], phases[2]


def seen_by(case: Case, pieces: Pieces, take: Callable[[dict[bytes, int]], None], *, moved: bool) -> None:
    for slice_ in scanned(case, moved=moved):
        for keys, versions in slice_:
            page = as_dict(keys, versions)
            pieces.skip()
            take(page)
            pieces.turn()


def as_dict(keys: Keys, versions: Versions) -> dict[bytes, int]:
    return dict(zip((row.tobytes() for row in k.as_bytes(keys)), versions.tolist(), strict=True))


def resident(name: str) -> int:
    """`VmRSS` or `VmHWM` of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def measured(case: Case) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Scratch(Path(folder))
        start = resident("VmRSS")
        phases = with_columns(case, scratch) if case.ledger == "columns" else with_dicts(case)
        peak = resident("VmHWM") - start
        disk = sum(file.stat().st_size for file in Path(folder).rglob("*.columns"))
        scratch.close()
    return Result(*phases, peak=round(peak / MIB, 1), disk=round(disk / MIB, 1))


def alone(case: Case) -> Result:
    """Measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.ledger", "--case", json.dumps(asdict(case))]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    build, changes, look = (Phase(**answer[phase]) for phase in ("build", "changes", "look"))
    return Result(build, changes, look, peak=answer["peak"], disk=answer["disk"])


def show(case: Case, result: Result, before: Result | None) -> None:
    told = (
        f"{name} {phase.seconds:6.2f} s, longest {phase.longest:6.1f} ms"
        for name, phase in (("build", result.build), ("changes", result.changes), ("look", result.look))
    )
    print(f"{case.ledger:<8}{case.ids:<8}{case.points:>9} points in slices of {case.slice}: {'; '.join(told)}")
    text = f"{'':17}peak {result.peak:.1f} MiB ({result.peak * MIB / case.points:.0f} bytes a point)"
    text += f", disk {result.disk:.0f} MiB"
    if before is not None:
        text += f"; the dicts took {before.peak / max(result.peak, 0.1):.0f} times the memory"
        text += f" and {before.seconds / result.seconds:.1f} times the CPU"
    print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--slice", type=int, default=100_000, help="Points of a slice.")
    parser.add_argument("--changed", type=float, default=0.01, help="Which part has changed before the pass.")
    parser.add_argument("--only-columns", action="store_true")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(asdict(measured(Case(**json.loads(options.case))))))
        return
    rows = []
    for points in options.sizes:
        for ids in ("integer", "uuid"):
            case = Case("dict", ids, points, options.slice, options.changed)
            before = None
            if points <= DICT_UP_TO and not options.only_columns:
                before = alone(case)
                show(case, before, None)
                rows.append({**asdict(case), **asdict(before)})
            case = replace(case, ledger="columns")
            result = alone(case)
            show(case, result, before)
            rows.append({**asdict(case), **asdict(result)})
    print(json.dumps({"cores": os.cpu_count(), "numpy": np.__version__, "results": rows}))


if __name__ == "__main__":
    main()
