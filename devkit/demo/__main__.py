"""`make demo DEMO=plain|rollback|chaos`: migrate under load, and count what readers and writers notice."""

from __future__ import annotations

import argparse
import random
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from devkit.control_plane.report import Report
from devkit.demo.chaos import Chaos
from devkit.demo.plain import Plain
from devkit.demo.play import Play
from devkit.demo.rollback import Rollback
from devkit.demo.screen import Screen
from devkit.demo.stage import Stage

STORIES: dict[str, type[Play]] = {"plain": Plain, "rollback": Rollback, "chaos": Chaos}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devkit.demo", description=__doc__)
    parser.add_argument("--story", choices=sorted(STORIES), default="plain")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="Of chaos.")
    return parser.parse_args()


def _interrupted(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise KeyboardInterrupt


def main() -> int:
    """Play a story; the exit status is 0 only if nothing failed and no write was lost."""
    signal.signal(signal.SIGTERM, _interrupted)
    chosen, screen = _arguments(), Screen()
    plays: dict[str, Callable[[Stage], Play]] = {
        "plain": lambda stage: Plain(stage, screen),
        "rollback": lambda stage: Rollback(stage, screen),
        "chaos": lambda stage: Chaos(stage, screen, chosen.seed),
    }
    try:
        with Stage(Report(), faults=STORIES[chosen.story].faults) as stage:
            return plays[chosen.story](stage).run()
    except KeyboardInterrupt:
        screen.console.print("Interrupted; everything that was started has been stopped.", style="yellow")
        return 130


if __name__ == "__main__":
    sys.exit(main())
