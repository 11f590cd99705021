"""The pages agree with the code: links, commands, fields and figures of speech that can be checked are."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import yaml

from teal.api.manifest import parse
from teal.api.status import Phase
from teal.api.vector_collection import VectorCollection
from teal.controller.objects import FINALIZERS
from teal.domain.marks.table import TABLE, describe
from teal.domain.plan import Strategy
from teal.domain.transitions import Stage, diagram
from teal.migration.steps.registry import OF_SUBJECT, REGISTRY
from teal.migration.verification import checks

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
SOURCES = sorted((ROOT / "operator" / "teal").rglob("*.py"))
REASON = re.compile(r"[A-Z][a-z]+(?:[A-Z]+[a-z]*)+|Serving|Suspended|Held")
RAISED = re.compile(r"Note|[A-Z]\w*Error|__init__|stalled|in_trouble|kind")
GIVEN_FIRST = re.compile(r"Note|[A-Z]\w*Error|__init__")
NAMED_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")
CONDITIONS = {"Ready", "Available", "Reconciling", "Stalled", "Verified"}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def prose(page: Path) -> str:
    """The text outside of fenced blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def strings(node: ast.AST | None) -> Iterator[str]:
    """Reasons among the constants of an expression; not those of calls within it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and REASON.fullmatch(node.value):
        yield node.value
    elif isinstance(node, ast.IfExp | ast.BoolOp):
        for child in ast.iter_child_nodes(node):
            yield from strings(child)


def called(node: ast.Call) -> str:
    """The name of what is called, without what it belongs to."""
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def reasons(source: Path) -> Iterator[str]:
    """What a module gives as a reason: to an error or a note, or in a row of a condition."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Call):
            if RAISED.fullmatch(called(node)):
                for argument in node.args[:2]:
                    yield from strings(argument)
        elif isinstance(node, ast.Tuple):
            first, *others = node.elts or [None]
            if isinstance(first, ast.Constant) and first.value in CONDITIONS | {"True", "False"}:
                for other in others:
                    yield from strings(other)
        elif isinstance(node, ast.Assign) and source.name in ("status.py", "conditions.py"):
            yield from strings(node.value)


def is_python(text: str) -> bool:
    try:
        compile(text, "page", "exec")
    except SyntaxError:
        return False
    return True


def told() -> dict[str, str]:
    """Every reason in the code, with a module that gives it."""
    return {reason: str(source.relative_to(ROOT)) for source in SOURCES for reason in reasons(source)}


def raised_or_noted() -> set[str]:
    """Every reason that is the first argument of an error or a note."""
    calls = (
        node
        for source in SOURCES
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Call) and node.args and GIVEN_FIRST.fullmatch(called(node))
    )
    return {reason for call in calls for reason in strings(call.args[0])}


def named_by_tests() -> set[str]:
    """Every word of the string constants in the tests, without this file."""
    sources = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    return {
        word
        for source in sources
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for word in re.findall(r"\w+", node.value)
    }


def checks_in_code() -> set[str]:
    """The names of all checks: of the questions, and of what they answer beside that."""
    named = {name for name, _ in (*checks.ESSENTIAL, *checks.QUALITY)}
    for source in (ROOT / "operator/teal/migration/verification").glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Call) and called(node) in ("Check", "_named", "_judged"):
                first = node.args[0]
                named |= (
                    {first.value} if isinstance(first, ast.Constant) and isinstance(first.value, str) else set()
                )
    return named


def names_of_tests(file: Path) -> set[str]:
    """The names of the tests of a module; none where there is no such file."""
    if not file.exists():
        return set()
    defined = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, defined)}
    return {name for name in found if name.startswith("test_")}


def explained() -> set[str]:
    """Every reason in the first column of the tables under Reasons."""
    section = (ROOT / "docs" / "migration.md").read_text().split("\n## Reasons\n")[1]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


@pages
def test_relative_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pages
def test_paths_that_are_named_exist(page: Path) -> None:
    for path in re.findall(
        r"`((?:operator|devkit|tests|docs|deploy|examples|requirements)/[\w./-]+)`", prose(page)
    ):
        assert (ROOT / path).exists(), path


@pages
def test_make_targets_that_are_named_exist(page: Path) -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^\$ |^)make ([a-z-]+)", page.read_text(), re.MULTILINE))
    assert named <= known


def test_make_help_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    command = ["make", "--no-print-directory", "help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S603
    assert [line.split()[0] for line in shown.split("\n\n")[0].splitlines()] == phony[1].split()


def test_the_diagram_is_that_of_the_table() -> None:
    assert blocks(ROOT / "docs" / "architecture.md", "mermaid") == [diagram() + "\n"]


def test_the_marks_are_those_of_the_table() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert describe() in page
    assert len(re.findall(r"^\| `teal\.dev/", page, re.MULTILINE)) == len(TABLE)


def test_every_phase_that_is_shown_is_described_and_no_other() -> None:
    table = (ROOT / "docs" / "migration.md").read_text().split("\n## Phases\n")[1].split("\n## ")[0]
    rows = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    shown = {str(action.phase) for action in REGISTRY.values() if action.phase not in (None, OF_SUBJECT)}
    assert rows == set(get_args(Phase))
    assert shown | {stage.value for stage in Stage} <= rows


def test_every_finalizer_and_strategy_is_described() -> None:
    page = (ROOT / "docs" / "migration.md").read_text()
    strategies = {strategy.value for strategy in Strategy} - {Strategy.NOTHING.value}
    assert [name for name in {*FINALIZERS, *strategies} if f"| `{name}` |" not in page] == []


def test_every_reason_is_explained() -> None:
    found = told()
    assert len(found) > 60
    assert {reason: where for reason, where in found.items() if reason not in explained()} == {}


def test_every_explained_reason_is_in_the_code() -> None:
    code = "\n".join(source.read_text() for source in SOURCES)
    assert [name for name in explained() if f'"{name}"' not in code and not name.startswith("Verification")] == []


def test_every_reason_is_named_by_a_test() -> None:
    found = raised_or_noted()
    assert len(found) > 80
    assert sorted(found - named_by_tests()) == []


def test_every_metric_is_described_and_no_other() -> None:
    code = (ROOT / "operator/teal/controller/metrics.py").read_text()
    page = (ROOT / "docs" / "operations.md").read_text()
    assert set(re.findall(r"`(teal_\w+)`", page)) == set(re.findall(r'"(teal_\w+)"', code))


def test_the_page_of_checks_has_every_check_and_no_other() -> None:
    table = (ROOT / "docs" / "checks.md").read_text().split("\n## What each check compares\n")[1]
    assert len(checks_in_code()) > 10
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == checks_in_code()


def test_each_guarantee_names_tests_that_there_are() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text()
    rows = [
        row for row in re.findall(r"^\| (.*) \|$", page, re.MULTILINE) if not re.match("so |assumption |---", row)
    ]
    assert [row for row in rows if not NAMED_TEST.search(row)] == []
    named = NAMED_TEST.findall(page)
    assert len(rows) > 20
    assert len(named) > 50
    assert [f"{file}::{test}" for file, test in named if test not in names_of_tests(ROOT / "tests" / file)] == []


def test_the_manifest_of_the_readme_is_a_good_one() -> None:
    (block,) = blocks(ROOT / "README.md", "yaml")
    embedding_set, collection = (parse(document) for document in yaml.safe_load_all(block))
    assert isinstance(collection, VectorCollection)
    assert collection.spec.embedding_set_ref is not None
    assert collection.spec.embedding_set_ref.name == embedding_set.metadata.name


def test_python_in_pages_is_python() -> None:
    every = [(page.name, block) for page in PAGES for block in blocks(page, "python")]
    assert every, "there is an example in clients.md at the least"
    assert [(page, block) for page, block in every if not is_python(block)] == []
