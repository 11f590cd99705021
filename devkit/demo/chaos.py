"""The three changes again, while Qdrant and the leading operator are killed at random.

Two operators run, like two replicas of a Deployment; a killed process is started again. A search fails while
Qdrant is down, and no operator can prevent that. Such searches are counted separately, and only if Qdrant was
down at that time. Writers repeat requests that got no answer.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from devkit.clients import Clients, Counts
from devkit.demo import story
from devkit.demo.play import Play, first_commit
from devkit.demo.screen import Screen
from devkit.demo.stage import Stage
from devkit.demo.story import Commit
from devkit.teal import Operator
from teal.controller.lease import LOST_EXIT_CODE

DOWN_SECONDS = (0.5, 2.5)
OPERATOR, QDRANT = "operator", "qdrant"
# Seconds after a commit, from and to. What comes when the change is done already is left out.
PLAN = ((OPERATOR, 0.0, 5.0), (QDRANT, 0.5, 8.0), (QDRANT, 8.0, 25.0), (OPERATOR, 20.0, 30.0))


@dataclass(frozen=True)
class Kill:
    """What is to be killed, and when (monotonic)."""

    at: float
    what: str


@dataclass(frozen=True)
class Downtime:
    """The time from right before Qdrant was killed until it answered again; seconds since the epoch."""

    begin: float
    end: float

    def met(self, request: tuple[float, float]) -> bool:
        """Whether a request was in progress during that time."""
        sent, failed = request
        return sent <= self.end and failed >= self.begin


class Chaos(Play):
    """Kills the process that its random numbers name; the same seed gives the same times."""

    faults = True

    def __init__(self, stage: Stage, screen: Screen, seed: int) -> None:
        super().__init__(stage, screen)
        self._rng = random.Random(seed)
        self._kills: list[Kill] = []
        self._downtimes: list[Downtime] = []
        self._killed = {OPERATOR: 0, QDRANT: 0, "lostLeases": 0}
        self.outcome.more |= {"seed": seed, "kills": self._killed}
        screen.console.print(f"Kills at random times, drawn with --seed {seed}.")

    def first(self) -> Commit:
        return first_commit(self.stage)

    def start_operators(self) -> None:
        for _ in range(2):
            self.stage.start_operator()

    def act(self, commit: Commit, crowd: Clients) -> None:
        for change in story.changes(commit):
            now = time.monotonic()
            self._kills = sorted(
                (Kill(now + self._rng.uniform(begin, end), what) for what, begin, end in PLAN),
                key=lambda kill: kill.at,
            )
            self.change(change, crowd)
        self._kills = []

    def meanwhile(self) -> None:
        self._restart_the_ended()
        if self._kills and time.monotonic() >= self._kills[0].at:
            what = self._kills.pop(0).what
            kill: Callable[[], None] = {OPERATOR: self._kill_operator, QDRANT: self._kill_qdrant}[what]
            kill()
            self._killed[what] += 1

    def hopeless(self, status: dict[str, object]) -> bool:
        del status
        return False

    def blames(self, counts: Counts) -> int:
        refused = sum(any(time.met(each) for time in self._downtimes) for each in counts.unanswered)
        self.outcome.more["refusedWhileDown"] = refused
        self.outcome.more["qdrantDownSeconds"] = round(sum(time.end - time.begin for time in self._downtimes), 1)
        self.outcome.excused_reads = refused
        return counts.failures - refused

    def _kill_operator(self) -> None:
        leader = next((each for each in self.stage.operators if leads(each)), self.stage.operators[0])
        self._say(f"SIGKILL to the operator that leads (pid {leader.process.pid})")
        leader.kill()
        self._replace(leader)

    def _restart_the_ended(self) -> None:
        """Start an operator again as the kubelet does, but only if it ended because it lost its lease: else it
        is a bug.
        """
        for each in list(self.stage.operators):
            if each.process.running:
                continue
            if each.process.popen.returncode != LOST_EXIT_CODE:
                each.process.check()
            self._say("an operator has lost its lease and ended")
            self._killed["lostLeases"] += 1
            self._replace(each)

    def _replace(self, operator: Operator) -> None:
        self.stage.operators.remove(operator)
        operator.stop()
        self.stage.start_operator()

    def _kill_qdrant(self) -> None:
        self._say(f"SIGKILL to Qdrant (pid {self.stage.embedded.pid})")
        begin = time.time()
        self.stage.embedded.kill()
        time.sleep(self._rng.uniform(*DOWN_SECONDS))
        self.stage.embedded.restart()
        self._downtimes.append(Downtime(begin, time.time()))

    def _say(self, text: str) -> None:
        self.screen.console.print(f"  ✗ {text}", style="red")


def leads(operator: Operator) -> bool:
    """Whether this operator holds the lease; one that does not answer does not lead."""
    try:
        text = httpx.get(f"{operator.url}/metrics").raise_for_status().text
    except httpx.HTTPError:
        return False
    return "teal_leader 1.0" in text.splitlines()
