"""Mutation tests of the core: `make mutants`, not a part of `make test`.

mutmut changes one thing at a time and runs the tests that reach the function; a mutant that no test notices has
*survived*. It finds sources only in a folder that is named `source` or `src`, so it works on a copy of the project
in `.cache/mutants`. Only tests that need no server are run. Which modules are the core stands in `CORE`.

    python -m devkit.mutants [PATTERN ...] [--fresh]    # PATTERN: teal.domain.rest.*
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".cache" / "mutants"

CORE = (
    "domain/columns.py",
    "domain/epoch.py",
    "domain/buckets.py",
    "domain/carry.py",
    "domain/fencing.py",
    "domain/in_step.py",
    "domain/keys.py",
    "domain/ledger.py",
    "domain/ownership.py",
    "domain/point_state.py",
    "domain/rest.py",
    "domain/slices.py",
    "domain/stall.py",
    "domain/transitions.py",
    "domain/policy/*.py",
    "migration/copying/*.py",
    "migration/cutover/*.py",
    "migration/sync/*.py",
    "qdrant/feed.py",
)
"""Ledger, feed, cut-over, both revisions in step, ownership and the decider."""

TESTS = ("tests/unit/domain", "tests/unit/migration", "tests/unit/qdrant")
TOO_LONG = ("test_machine.py", "test_cluster_machine.py", "test_convergence.py")
"""Random stories take minutes, and a mutant would be run against all of them."""
READ_SOURCES = ("test_writes.py",)
"""Tests that read the source, which mutmut rewrites."""

STATUS = {0: "survived", 1: "killed", 3: "killed", 5: "no tests", 33: "no tests", 34: "skipped", 36: "timeout"}
CAUGHT = {"killed", "timeout", "caught by type check"}


@dataclass(frozen=True)
class Mutant:
    """`name` is mutmut's: module, function and number."""

    name: str
    status: str


def prepare(*, fresh: bool) -> None:
    """A copy of the project as mutmut expects it. Results of an earlier run stay unless `fresh`."""
    if fresh and WORK.exists():
        shutil.rmtree(WORK)
    WORK.mkdir(parents=True, exist_ok=True)
    for source, target in (("operator/teal", "source/teal"), ("tests", "tests"), ("devkit", "devkit")):
        shutil.rmtree(WORK / target, ignore_errors=True)
        shutil.copytree(ROOT / source, WORK / target, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", WORK)
    (WORK / "setup.cfg").write_text(configuration())


def configuration() -> str:
    """What mutmut reads: what is mutated, and which tests are run."""
    ignored = [f"--ignore-glob=*/{name}" for name in (*TOO_LONG, *READ_SOURCES)]
    rows = {
        "source_paths": ["source/"],
        "only_mutate": [f"source/teal/{path}" for path in CORE],
        "also_copy": ["devkit/"],
        "pytest_add_cli_args_test_selection": [path for path in TESTS if (ROOT / path).exists()],
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "-p", "no:randomly", *ignored],
    }
    text = "".join(f"{key} =\n" + "".join(f"    {value}\n" for value in values) for key, values in rows.items())
    return f"[mutmut]\n{text}use_git_change_detection = false\n"


def results() -> Iterator[Mutant]:
    """All mutants that there are, and what became of them."""
    for path in sorted((WORK / "mutants").rglob("*.meta")):
        found = json.loads(path.read_text())["exit_code_by_key"]
        for name, code in found.items():
            yield Mutant(name, "not run" if code is None else STATUS.get(code, f"exit code {code}"))


def report(mutants: Sequence[Mutant]) -> str:
    """One line a module: how many of its mutants that were run have been noticed; and the survivors."""
    by_module: dict[str, Counter[str]] = {}
    for mutant in mutants:
        module = mutant.name.rpartition(".")[0]
        by_module.setdefault(module, Counter())[mutant.status] += 1
    lines = [_line(module, counts) for module, counts in sorted(by_module.items())]
    total = sum(by_module.values(), Counter[str]())
    survivors = [mutant.name for mutant in mutants if mutant.status in ("survived", "no tests")]
    return "\n".join([*lines, _line("all", total), "", "Survivors:", *survivors])


def _line(name: str, counts: Counter[str]) -> str:
    run = sum(counts.values()) - counts["not run"]
    caught = sum(counts[status] for status in CAUGHT)
    share = f"{caught / run:6.1%}" if run else "   -  "
    return f"{share}  {caught:5} of {run:5} run, {counts['not run']:5} not run  {name}"


def main() -> int:
    """Run mutmut on the copy; exit code 1 when it could not begin."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("patterns", nargs="*", help="mutants to run, such as 'teal.domain.rest.*'; default: all")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs have found")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--report", action="store_true", help="only show what earlier runs have found")
    given = parser.parse_args()
    code = 0
    if not given.report:
        prepare(fresh=given.fresh)
        command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(given.processes), *given.patterns]
        code = subprocess.run(command, cwd=WORK, check=False).returncode
    found = list(results())
    print(report(found))
    return code or not found


if __name__ == "__main__":
    sys.exit(main())
