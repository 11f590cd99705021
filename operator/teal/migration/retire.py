"""Retiring: after its grace, and only then, blue goes; a snapshot stays.

Checked right before the deletion, not from memory: no alias points at it any more. A failed snapshot keeps the
collection.
"""

from __future__ import annotations

from teal.domain.errors import TransientError
from teal.domain.schema import version_alias
from teal.migration.contract import Note
from teal.migration.work import Result, Work


async def run(work: Work) -> Result:
    """Snapshot and delete `subject`, which served before and is past its grace."""
    name, blue = work.subject, work.the_target()
    own = version_alias(work.desired.alias, blue.schema.schema_version)
    snapshot = await _snapshot(work, name) if work.options.snapshot else None
    aliases = await work.server.admin.aliases()
    foreign = sorted(alias for alias, target in aliases.items() if target == name and alias != own)
    if foreign:
        raise TransientError(
            "RetirementBlocked",
            f"{name} is past its retention, but the alias {foreign[0]!r} still points at it. "
            "Move or delete that alias, or extend spec.retention.keepFor.",
            retry_after=300.0,
        )
    if aliases.get(own) == name:
        await work.server.admin.delete_alias(own)
    await work.server.admin.delete(name)
    work.server.invalidate()
    kept = f"; its snapshot is {snapshot}" if snapshot else ""
    message = f"{name} ({blue.points:,} points, revision {blue.revision}) was deleted after its retention{kept}."
    return Result(notes=(Note("CollectionRetired", message, "Retire"),))


async def _snapshot(work: Work, name: str) -> str:
    """A snapshot taken since the collection was replaced; one from a run that crashed is used again."""
    existing = await work.server.admin.snapshots(name)
    made = existing[-1] if existing else await work.server.admin.snapshot(name)
    return made.name
