"""What people ask for by annotation, and whether what the annotation names still exists.

An annotation carries the id of what it acts on, so it is idempotent and need not be removed: it never acts twice,
because every new attempt has a new id. An annotation with an old id must not act on what has replaced it, and must
not be ignored silently: it is refused, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

PREFIX = "teal.dev/"
ID = re.compile(r"(?P<plan>.+)-(?P<attempt>[0-9]{1,9})")


@dataclass(frozen=True)
class Asked:
    """The values of the four annotations. `promote` names a plan's hash, the others a migration's id."""

    promote: str | None = None
    abort: str | None = None
    retry: str | None = None
    rollback: str | None = None

    @classmethod
    def read(cls, annotations: Mapping[str, str]) -> Asked:
        """From an object's annotations; an empty value asks for nothing."""
        return cls(**{each.name: annotations.get(PREFIX + each.name) or None for each in fields(cls)})


@dataclass(frozen=True)
class Situation:
    """What an annotation can name now.

    `plan_hash` and `under_way` are those of the migration that has not cut over yet; `serving` is the id of the
    migration that made the serving collection, `can_roll_back` whether its source is still retained; `stopped` is
    the id of the migration that is held or declined; `past` are the ids of migrations that have ended.
    """

    plan_hash: str | None = None
    under_way: str | None = None
    serving: str | None = None
    can_roll_back: bool = False
    stopped: str | None = None
    past: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """An annotation that is not acted on, and why."""

    action: str
    value: str
    why: str

    @property
    def annotation(self) -> str:
        return PREFIX + self.action

    def __str__(self) -> str:
        return f"{self.annotation}={self.value} is refused: {self.why}"


def refusals(asked: Asked, now: Situation) -> list[Refusal]:
    """The annotations that neither act now nor have acted before: each is refused."""
    return list(_refused(asked, now))


def _refused(asked: Asked, now: Situation) -> Iterator[Refusal]:
    for action, judge in _JUDGES.items():
        value = getattr(asked, action)
        why = judge(value, now) if value else None
        if why:
            yield Refusal(action, value, why)


def _promote(value: str, now: Situation) -> str | None:
    plans = [_plan_of(each) for each in (now.serving, *now.past) if each]
    if value == now.plan_hash or value in plans:
        return None
    if now.plan_hash:
        return f"the plan is now {now.plan_hash}. Review it, then annotate {PREFIX}promote={now.plan_hash}."
    return "no migration waits for approval."


def _abort(value: str, now: Situation) -> str | None:
    if value in (now.under_way, now.stopped):
        return None
    if value == now.serving:
        return f"it has cut over already. To roll back, annotate {PREFIX}rollback={value}."
    if _is_past(value, now):
        return None
    return f"the migration under way is {now.under_way}." if now.under_way else "no migration is under way."


def _retry(value: str, now: Situation) -> str | None:
    if value == now.stopped or _is_past(value, now):
        return None
    if now.stopped:
        return f"the migration that is stopped is {now.stopped}."
    return "no migration is held, aborted or rolled back."


def _rollback(value: str, now: Situation) -> str | None:
    if value == now.serving:
        return None if now.can_roll_back else "the collection that it replaced does not exist any more."
    if value == now.under_way:
        return f"it has not cut over yet. To stop it, annotate {PREFIX}abort={value}."
    if value == now.stopped or _is_past(value, now):
        return None
    return (
        f"the serving collection was made by migration {now.serving}."
        if now.serving
        else "no migration has cut over, so there is nothing to roll back."
    )


_JUDGES = {"promote": _promote, "abort": _abort, "retry": _retry, "rollback": _rollback}


def _is_past(value: str, now: Situation) -> bool:
    current = (each for each in (now.under_way, now.serving, now.stopped) if each)
    return value in now.past or any(_is_earlier(value, each) for each in (*current, *now.past))


def _is_earlier(value: str, known: str) -> bool:
    """Whether `value` is an earlier attempt at the plan of `known`."""
    earlier, later = ID.fullmatch(value), ID.fullmatch(known)
    if earlier is None or later is None or earlier["plan"] != later["plan"]:
        return False
    return 0 < int(earlier["attempt"]) < int(later["attempt"])


def _plan_of(migration: str) -> str:
    return migration.rpartition("-")[0]
