"""A bad cut-over: the new collection becomes slow, and the watch rolls back by itself."""

from __future__ import annotations

import time

from devkit.clients import Clients
from devkit.demo import story
from devkit.demo.play import Play, first_commit
from devkit.demo.screen import clients
from devkit.demo.story import Commit, Manifest

SLOWER_SECONDS = 0.3
WATCHED_SECONDS = 3.0


class Rollback(Play):
    """Nobody intervenes: no annotation, no revert."""

    faults = True

    def first(self) -> Commit:
        return first_commit(self.stage, duration="30s")

    def act(self, commit: Commit, crowd: Clients) -> None:
        change = story.by_angle(commit)
        self.screen.commit(change)
        began = time.monotonic()
        blue = self.status()["active"]["collection"]
        self.stage.cluster.apply(change.manifests)
        green = self.wait(is_watched, crowd)["active"]["collection"]
        self.outcome.add(self.status(), time.monotonic() - began)
        self.show_events()
        time.sleep(WATCHED_SECONDS)
        self.screen.title(f"Sabotage: every search in {green} takes {SLOWER_SECONDS * 1000:.0f} ms longer")
        self.stage.tamper(slow={green: SLOWER_SECONDS})
        slow_since = time.monotonic()
        status = self.wait(lambda resource: serves(resource, blue) and is_held(resource), crowd)
        back = time.monotonic() - slow_since
        self.show_events()
        self.screen.console.print(
            f"  rolled back to {blue} after {back:.1f} s: {clients(crowd.counts())}", soft_wrap=True
        )
        self.outcome.seconds = time.monotonic() - began
        self.outcome.more["rolledBack"] = {
            "from": green,
            "to": blue,
            "because": stalled(status)["reason"],
            "secondsAfterSabotage": round(back, 1),
        }

    def hopeless(self, status: Manifest) -> bool:
        """This story ends with a stop and its reason."""
        return "Stalled" in kinds(status) and stalled(status)["reason"] != "WatchBreached"


def is_watched(resource: Manifest) -> bool:
    """After the cut-over, and after the first round of the watch."""
    status = resource.get("status") or {}
    watched = (status.get("migration") or {}).get("watch") or {}
    return status.get("phase") == "Watching" and "watchedSeconds" in watched


def serves(resource: Manifest, collection: str) -> bool:
    return bool(resource["status"].get("active", {}).get("collection") == collection)


def is_held(resource: Manifest) -> bool:
    return bool(resource["status"].get("phase") == "Held")


def kinds(status: Manifest) -> set[str]:
    return {each["type"] for each in status.get("conditions") or ()}


def stalled(status: Manifest) -> Manifest:
    """The condition of that type, which there has to be."""
    found: Manifest = next(each for each in status["conditions"] if each["type"] == "Stalled")
    return found
