"""The main demo: three changes from a Git history, one after the other."""

from __future__ import annotations

from devkit.clients import Clients
from devkit.demo import story
from devkit.demo.play import Play, first_commit
from devkit.demo.story import Commit


class Plain(Play):
    """In place, then a new collection with copied vectors, then one with another encoder."""

    def first(self) -> Commit:
        return first_commit(self.stage)

    def act(self, commit: Commit, crowd: Clients) -> None:
        for change in story.changes(commit):
            self.change(change, crowd)
