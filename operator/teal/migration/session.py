"""What is remembered about one resource between two steps, in this process only.

A session holds typed parts; each is defined and owned by the module that uses it, and says whether it survives a
new plan. Parts make the next step cheaper and may be lost at any moment: what decides correctness is in Qdrant.
"""

from __future__ import annotations

from typing import ClassVar, TypeVar

from teal.qdrant.pool import Server


class Part:
    """One module's memory. It can be made without arguments: that is its state when nothing is known.

    Every subclass declares `survives_plan`: whether it is kept when another plan begins.
    """

    survives_plan: ClassVar[bool]

    def __init_subclass__(cls, *, survives_plan: bool) -> None:
        super().__init_subclass__()
        cls.survives_plan = survives_plan

    def stop(self) -> None:
        """Cancel background work; nothing by default."""

    def server_changed(self) -> None:
        """Drop what uses the earlier connections."""
        self.stop()


P = TypeVar("P", bound=Part)


class Session:
    """The memory of one resource's migration: one part of each type, for one plan, on one server."""

    def __init__(self) -> None:
        self._plan = ""
        self._server: Server | None = None
        self._parts: dict[type[Part], Part] = {}

    def part(self, kind: type[P]) -> P:
        """The part of this type, made empty when it is first asked for."""
        found = self._parts.get(kind)
        if not isinstance(found, kind):
            found = self._parts[kind] = kind()
        return found

    def drop(self, kind: type[Part]) -> None:
        """Stop and forget the part of this type."""
        part = self._parts.pop(kind, None)
        if part:
            part.stop()

    def begin(self, plan: str, *, afresh: bool = False) -> None:
        """Forget what does not survive, if `plan` is another one, or if it starts again (`afresh`)."""
        if not afresh and self._plan == plan:
            return
        self._plan = plan
        for kind in [kind for kind in self._parts if not kind.survives_plan]:
            self.drop(kind)

    def use(self, server: Server) -> None:
        """Steps use `server` from now on; if its connections are new, background work starts again."""
        if self._server not in (None, server):
            for part in self._parts.values():
                part.server_changed()
        self._server = server

    def stop(self) -> None:
        """Cancel background work; what is known stays."""
        for part in self._parts.values():
            part.stop()
