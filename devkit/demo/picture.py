"""`python -m devkit.demo.picture docs/demo.svg`: play the demo and draw its output.

The picture in the README is a recording, never a drawing. The long `kubectl describe` and some lines of progress
(⋮) are left out, and long lines are cut (…). Nothing else is changed, and nothing is added.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable
from contextlib import redirect_stdout
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.text import Text

from devkit.control_plane.report import Report
from devkit.demo.plain import Plain
from devkit.demo.screen import Screen
from devkit.demo.stage import Stage

WIDTH = 132
LEFT_OUT = "kubectl describe"
PROGRESS = re.compile(r"\s*[\d.]+ s  (\w+)")
PER_PHASE = 4
FONTS = re.compile(r"@font-face\s*\{.*?\}\s*", re.DOTALL)


def play() -> tuple[int, list[Text]]:
    """The demo's exit status, and the lines that it showed, with their colours."""
    said = io.StringIO()
    console = Console(record=True, width=WIDTH, highlight=False, soft_wrap=True, file=sys.stderr)
    with Stage(Report()) as stage, redirect_stdout(said):
        status = Plain(stage, Screen(console)).run()
    lines = console.export_text(styles=True).splitlines() + said.getvalue().splitlines()
    return status, [Text.from_ansi(line) for line in lines]


def abridged(lines: Iterable[Text]) -> list[Text]:
    """Without the section that describes the resource, and with a few lines of progress for each phase."""
    sections = groupby(lines, Section())
    shown = [line for title, section in sections if not title.startswith(LEFT_OUT) for line in section]
    return [line for phase, run in groupby(shown, _phase) for line in (_few(list(run)) if phase else run)]


class Section:
    """Called with line after line: the title that each stands under."""

    def __init__(self) -> None:
        self._title = ""

    def __call__(self, line: Text) -> str:
        if "──" in line.plain:
            self._title = line.plain
        return self._title


def _phase(line: Text) -> str:
    found = PROGRESS.match(line.plain)
    return found[1] if found else ""


def _few(run: list[Text]) -> list[Text]:
    return run if len(run) <= PER_PHASE else [*run[:2], Text("   ⋮", style="dim"), *run[-2:]]


def draw(lines: Iterable[Text]) -> str:
    """An SVG that refers to nothing outside itself."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False)
    for line in lines:
        is_verdict = line.plain.startswith("{")
        console.print(line, overflow="fold" if is_verdict else "ellipsis", no_wrap=not is_verdict)
    return FONTS.sub("", console.export_svg(title="make demo"))


if __name__ == "__main__":
    result, transcript = play()
    if result == 0:
        Path(sys.argv[1]).write_text(draw(abridged(transcript)))
    sys.exit(result)
