"""Real text that exists on every machine: the docstrings of the Python standard library.

The corpus is read from source files, and nothing is imported. So it is the same in every process of one Python,
and no foreign code runs. Texts are distinct: two points with one text would hide a lost write.
"""

from __future__ import annotations

import ast
import functools
import re
import sysconfig
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["module", "class", "function", "method"]
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

MIN_CHARACTERS = 40
MIN_WORDS = 6
MIN_LETTERS = 0.7
# Tests and vendored tools: their docstrings are about themselves, not about what the library does.
SKIPPED = {
    "test",
    "tests",
    "idle_test",
    "site-packages",
    "dist-packages",
    "lib2to3",
    "turtledemo",
    "ensurepip",
    "__pycache__",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One text: `source` is the dotted path of what it documents, e.g. `asyncio.queues.Queue.put`."""

    source: str
    module: str
    kind: Kind
    text: str


@functools.cache
def stdlib() -> tuple[Entry, ...]:
    """Every distinct prose docstring (its first paragraph) of the standard library, ordered by source."""
    root = Path(sysconfig.get_path("stdlib"))
    first_of: dict[str, Entry] = {}
    for path in sorted(root.rglob("*.py")):
        if SKIPPED.isdisjoint(path.relative_to(root).parts):
            for entry in _entries(path, _module_name(path.relative_to(root))):
                first_of.setdefault(entry.text, entry)
    return tuple(sorted(first_of.values(), key=lambda entry: (entry.source, entry.text)))


def sample(count: int) -> tuple[Entry, ...]:
    """`count` entries spread evenly over the corpus (every module keeps its share); all of it if it has fewer."""
    entries = stdlib()
    if count >= len(entries):
        return entries
    return tuple(entries[position * len(entries) // count] for position in range(count))


def synthetic(count: int, dimensions: int, seed: int = 0) -> NDArray[np.float32]:
    """Unit vectors of shape (count, dimensions) in clusters, as embeddings are; equal for equal arguments."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(1, count // 100), dimensions), dtype=np.float32)
    vectors = centres[rng.integers(len(centres), size=count)]
    vectors += 0.5 * rng.standard_normal((count, dimensions), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _module_name(relative: Path) -> str:
    parts = relative.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _entries(path: Path, module: str) -> Iterator[Entry]:
    with tokenize.open(path) as file:
        tree = ast.parse(file.read())
    for source, kind, node in _documented(tree, module):
        text = _prose(ast.get_docstring(node) or "")
        if text:
            yield Entry(source, module, kind, text)


def _documented(tree: ast.Module, module: str) -> Iterator[tuple[str, Kind, ast.Module | Definition]]:
    yield module, "module", tree
    pending: list[tuple[str, ast.Module | ast.ClassDef]] = [(module, tree)]
    while pending:
        prefix, parent = pending.pop()
        for node in parent.body:
            if not isinstance(node, Definition):
                continue
            source = f"{prefix}.{node.name}"
            if isinstance(node, ast.ClassDef):
                pending.append((source, node))
                yield source, "class", node
            else:
                yield source, "method" if isinstance(parent, ast.ClassDef) else "function", node


def _prose(docstring: str) -> str:
    """The first paragraph on one line, or nothing when it is short or no sentences (a signature, a table)."""
    text = " ".join(re.split(r"\n\s*\n", docstring.strip(), maxsplit=1)[0].split())
    letters = sum(character.isalpha() or character == " " for character in text)
    is_prose = (
        len(text) >= MIN_CHARACTERS and len(text.split()) >= MIN_WORDS and letters >= MIN_LETTERS * len(text)
    )
    return text if is_prose and "->" not in text.split(". ")[0] else ""
