"""The gateway through which every alias is written.

Qdrant has no compare-and-set for aliases: `create_alias` moves one wherever it pointed before. So each write says
where its author has seen the alias. The present target is read right before the write, from every peer that
answers, and anything else than that (or than what the write itself leads to, as after a lost answer) is refused.
What stays open is the moment between this look and the write.
"""

from __future__ import annotations

from collections.abc import Collection

from teal.domain.errors import TransientError
from teal.qdrant.admin import Admin


async def set_alias(
    admin: Admin, alias: str, to: str, *, expected: str | None, ours: Collection[str] = ()
) -> None:
    """Make `alias`, which pointed at `expected` (`None`: was absent), point at the collection `to`.

    Raises:
        TransientError: reason `AliasMoved`, or `AliasNotOwned` where it points at a collection that is not among
            `ours` by now; else as `Admin.point_alias`.
    """
    await _require(admin, alias, {expected, to}, expected, ours)
    await admin.point_alias(alias, to)


async def remove_alias(admin: Admin, alias: str, *, expected: str, ours: Collection[str] = ()) -> None:
    """Remove `alias`, which pointed at `expected`; it is no error if it is gone. Raises as `set_alias`."""
    await _require(admin, alias, {expected, None}, expected, ours)
    await admin.delete_alias(alias)


async def _require(
    admin: Admin, alias: str, allowed: set[str | None], expected: str | None, ours: Collection[str]
) -> None:
    for peer, aliases in sorted((await admin.aliases_by_answering_peer()).items()):
        found = aliases.get(alias)
        if found in allowed:
            continue
        if found is not None and found not in ours:
            raise TransientError(
                "AliasNotOwned",
                f"At {peer} the alias {alias!r} points at {found!r} by now, which is not a collection of this "
                "resource. It is left alone; looking again.",
            )
        raise TransientError(
            "AliasMoved",
            f"At {peer} the alias {alias!r} {_target(found)} and no longer {_target(expected)}; looking again.",
        )


def _target(name: str | None) -> str:
    return "is absent" if name is None else f"points at {name!r}"
