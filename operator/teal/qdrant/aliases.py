"""The gateway through which every alias is written.

Qdrant has no compare-and-set for aliases: `create_alias` moves an alias wherever it pointed before. So each
write names the target that its caller expects. Right before the write, the gateway reads the present target from
every peer that answers. It refuses any target but the expected one, or the new one (after a lost answer the
write may have been applied). The moment between this read and the write remains unprotected.
"""

from __future__ import annotations

from collections.abc import Collection

from teal.domain.errors import TransientError
from teal.qdrant.admin import Admin
from teal.qdrant.peers import Peers


async def set_alias(
    admin: Admin,
    alias: str,
    to: str,
    *,
    expected: str | None,
    ours: Collection[str] = (),
    peers: Peers | None = None,
) -> None:
    """Make `alias`, which pointed at `expected` (`None`: did not exist), point at the collection `to`.

    With `peers` the first of them is asked, so requests that follow one another are decided in their order.

    Raises:
        TransientError: reason `AliasMoved`, or `AliasNotOwned` if it now points at a collection that is not in
            `ours`; else as `Admin.point_alias`.
    """
    await _require(admin, alias, {expected, to}, expected, ours, peers)
    await admin.point_alias(alias, to, peers.found[0].root if peers else None)


async def remove_alias(admin: Admin, alias: str, *, expected: str, ours: Collection[str] = ()) -> None:
    """Remove `alias`, which pointed at `expected`; it is no error if it does not exist. Raises as `set_alias`."""
    await _require(admin, alias, {expected, None}, expected, ours)
    await admin.delete_alias(alias)


async def _require(
    admin: Admin,
    alias: str,
    allowed: set[str | None],
    expected: str | None,
    ours: Collection[str],
    peers: Peers | None = None,
) -> None:
    for peer, aliases in sorted((await admin.aliases_by_answering_peer(peers)).items()):
        found = aliases.get(alias)
        if found in allowed:
            continue
        if found is not None and found not in ours:
            raise TransientError(
                "AliasNotOwned",
                f"At {peer} the alias {alias!r} now points at {found!r}, which is not a collection of this "
                "resource. Teal did not change it, and looks again.",
            )
        raise TransientError(
            "AliasMoved",
            f"At {peer} the alias {alias!r} now {_target(found)}, but Teal expected that it "
            f"{_target(expected)}. Teal did not change it, and looks again.",
        )


def _target(name: str | None) -> str:
    return "does not exist" if name is None else f"points at {name!r}"
