"""What a cut-over by one `create_alias` relies on, and the traps around it that Teal must never step into."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from qdrant_client import grpc as q

from tests.conformance.client import Grpc, Rest


@pytest.fixture
def blue(rest: Rest, new_collection: Callable[..., str]) -> str:
    name = new_collection()
    rest.upsert(name, [{"id": 1, "vector": [1, 0, 0, 0], "payload": {"colour": "blue"}}])
    return name


@pytest.fixture
def green(rest: Rest, new_collection: Callable[..., str]) -> str:
    name = new_collection()
    rest.upsert(name, [{"id": 1, "vector": [1, 0, 0, 0], "payload": {"colour": "green"}}])
    return name


@pytest.fixture
def alias(rest: Rest, prefix: str, blue: str) -> str:
    """An alias that points at blue."""
    name = f"{prefix}alias"
    rest.point_alias(name, blue)
    return name


def colour_over_rest(rest: Rest, name: str) -> str:
    colour: str = rest.retrieve(name, 1)[1]["payload"]["colour"]
    return colour


def colour_over_grpc(grpc: Grpc, name: str) -> str:
    request = q.ScrollPoints(collection_name=name, limit=1)
    request.with_payload.enable = True
    colour: str = grpc.call(grpc.points.Scroll, request).result[0].payload["colour"].string_value
    return colour


def test_one_create_alias_switches_every_kind_of_read(
    rest: Rest, grpc: Grpc, alias: str, blue: str, green: str
) -> None:
    assert (colour_over_rest(rest, alias), colour_over_grpc(grpc, alias)) == ("blue", "blue")
    rest.point_alias(alias, green)
    assert (colour_over_rest(rest, alias), colour_over_grpc(grpc, alias)) == ("green", "green")
    assert rest.aliases(alias) == {alias: green}


def test_writes_through_an_alias_land_where_it_points(rest: Rest, alias: str, blue: str, green: str) -> None:
    rest.upsert(alias, [{"id": 7, "vector": [1, 1, 1, 1]}])
    rest.point_alias(alias, green)
    rest.upsert(alias, [{"id": 8, "vector": [1, 1, 1, 1]}])
    assert (rest.ids(blue), rest.ids(green)) == ([1, 7], [1, 8])


def test_several_aliases_may_point_at_one_collection(rest: Rest, prefix: str, alias: str, blue: str) -> None:
    rest.point_alias(f"{alias}-next", blue)
    assert rest.aliases(prefix) == {alias: blue, f"{alias}-next": blue}
    of_blue = rest.ok("GET", f"/collections/{blue}/aliases")["aliases"]
    assert {entry["alias_name"] for entry in of_blue} == {alias, f"{alias}-next"}


def test_an_alias_exists_but_does_not_say_where_it_points(rest: Rest, alias: str, blue: str) -> None:
    assert rest.ok("GET", f"/collections/{alias}/exists") == {"exists": True}
    assert rest.ok("GET", f"/collections/{alias}/aliases") == {"aliases": []}
    assert rest.info(alias)["config"] == rest.info(blue)["config"]


def test_an_alias_is_not_listed_as_a_collection(rest: Rest, alias: str, blue: str) -> None:
    names = rest.collections()
    assert blue in names
    assert alias not in names


def test_an_alias_cannot_drop_its_collection(rest: Rest, alias: str, blue: str) -> None:
    assert rest.drop(alias) is False
    assert rest.count(blue) == 1
    assert rest.aliases(alias) == {alias: blue}


def test_dropping_a_collection_drops_its_aliases_only(
    rest: Rest, prefix: str, alias: str, blue: str, green: str
) -> None:
    rest.point_alias(f"{alias}-other", green)
    assert rest.drop(blue) is True
    assert rest.aliases(prefix) == {f"{alias}-other": green}
    assert rest.call("GET", f"/collections/{alias}").status == 404


def test_a_failed_request_leaves_its_first_actions_done(
    rest: Rest, server_version: tuple[int, int], alias: str, blue: str, green: str
) -> None:
    """Why Teal never sends two actions at once."""
    if server_version >= (1, 20):
        pytest.skip("alias requests are all-or-nothing from 1.20")
    answer = rest.change_aliases(
        {"create_alias": {"alias_name": alias, "collection_name": green}},
        {"create_alias": {"alias_name": f"{alias}-x", "collection_name": f"{alias}-missing"}},
    )
    assert answer.status == 404
    assert rest.aliases(alias) == {alias: green}


def test_aliases_over_grpc_are_the_same_aliases(
    rest: Rest, grpc: Grpc, prefix: str, alias: str, blue: str, green: str
) -> None:
    action = q.AliasOperations(create_alias=q.CreateAlias(alias_name=alias, collection_name=green))
    assert grpc.call(grpc.collections.UpdateAliases, q.ChangeAliases(actions=[action])).result is True
    listed = grpc.call(grpc.collections.ListAliases, q.ListAliasesRequest()).aliases
    own = {entry.alias_name: entry.collection_name for entry in listed if entry.alias_name.startswith(prefix)}
    assert own == rest.aliases(prefix) == {alias: green}


def test_metadata_is_reached_through_the_alias(rest: Rest, alias: str, blue: str) -> None:
    """Clients ask the alias which encoder it serves."""
    rest.patch(blue, metadata={"teal.dev/encoder": {"model": "m", "dimensions": 4}})
    assert rest.info(alias)["config"]["metadata"] == {"teal.dev/encoder": {"model": "m", "dimensions": 4}}
