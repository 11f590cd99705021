"""Every write to Qdrant goes through `Server`: what was seen is forgotten, and no alias moves unlooked-at."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import teal

ROOT = Path(teal.__file__).parent
ONLY_IN_QDRANT = {
    "mark",
    "patch",
    "create",
    "delete",
    "create_index",
    "delete_index",
    "point_alias",
    "delete_alias",
}


def past_the_server(source: Path) -> Iterator[str]:
    """Calls of `Admin`'s writes, and of whatever forgets what was seen."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            receiver = ast.unparse(node.func.value)
            admin = receiver == "admin" or receiver.endswith(".admin")
            if node.func.attr == "invalidate" or (admin and node.func.attr in ONLY_IN_QDRANT):
                yield f"{source.relative_to(ROOT)}:{node.lineno}: {receiver}.{node.func.attr}"


def test_what_is_written_is_looked_at_again() -> None:
    sources = [path for path in ROOT.rglob("*.py") if path.parent.name != "qdrant"]
    assert len(sources) > 100
    assert [found for source in sources for found in past_the_server(source)] == []


def test_a_write_past_the_server_is_found() -> None:
    source = ROOT / "qdrant" / "pool.py"
    assert len(list(past_the_server(source))) > 5
