"""What surrounds the controller: settings, logs, health, and kopf kept to watching."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import kopf
import pytest
from kubernetes.aio.client import Configuration

from teal.controller.connection import Connection, NoClusterError, connect
from teal.controller.context import about
from teal.controller.metrics import Metrics
from teal.controller.objects import Kind
from teal.runtime import handlers
from teal.runtime import logging as logs
from teal.runtime.handlers import Deliver
from teal.runtime.health import BEAT_SECONDS, LAG_LIMIT, SILENCE_LIMIT, Health
from teal.runtime.http import serve
from teal.runtime.informer import Informer
from teal.runtime.settings import Address
from teal.runtime.tasks import unless

ANYWHERE = "0.0.0.0"  # noqa: S104 - what `:port` means


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:80", "127.0.0.1", 80), (":8080", ANYWHERE, 8080), ("[::1]:0", "::1", 0), ("a.b:1", "a.b", 1)],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert Address.parse(text) == Address(host, port)
    assert Address.parse(str(Address(host, port))) == Address(host, port)


@pytest.mark.parametrize("text", ["8080", "host:", "host:port", "host:99999"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="not host:port"):
        Address.parse(text)


class TestHealth:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    def test_a_blocked_loop_is_an_illness_until_it_beats_again(self, clock: Clock) -> None:
        lags: list[float] = []
        health = Health(clock, lambda: True, lags.append, clock=clock)
        clock.now += BEAT_SECONDS
        health.beat()
        assert health.illness() is None
        clock.now += BEAT_SECONDS + LAG_LIMIT + 1
        assert "event loop" in (health.illness() or "")
        health.beat()
        assert "event loop" in (health.illness() or "")
        clock.now += BEAT_SECONDS
        health.beat()
        assert health.illness() is None
        assert lags == [0, LAG_LIMIT + 1, 0]

    def test_long_silence_of_the_api_server_is_an_illness(self, clock: Clock) -> None:
        contact = 0.0
        health = Health(lambda: contact, lambda: True, lambda _: None, clock=clock)
        while clock.now < SILENCE_LIMIT:
            clock.now += BEAT_SECONDS
            health.beat()
            assert health.illness() is None
        clock.now += BEAT_SECONDS
        health.beat()
        assert "API server" in (health.illness() or "")
        contact = clock.now
        assert health.illness() is None

    async def test_probes_and_metrics_are_served(self) -> None:
        clock, synced, metrics = Clock(), False, Metrics()
        health = Health(clock, lambda: synced, metrics.loop_lag.set, clock=clock)
        async with (
            serve(Address("127.0.0.1", 0), health, metrics) as address,
            httpx.AsyncClient(base_url=f"http://{address}") as client,
        ):
            assert (await client.get("/livez")).status_code == 200
            unready = await client.get("/readyz")
            assert (unready.status_code, unready.text) == (503, "the first list of resources is not complete\n")
            synced = True
            assert (await client.get("/readyz")).status_code == 200
            clock.now += 60
            assert (await client.get("/livez")).status_code == 503
            found = await client.get("/metrics")
            assert "teal_build_info" in found.text
            assert found.headers["Content-Type"].startswith("text/plain")


class TestLogs:
    @pytest.fixture(autouse=True)
    def _restored(self) -> Iterator[None]:
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        yield
        root.handlers[:], root.level = handlers, level
        for name in logs.LEVELS:
            logging.getLogger(name).setLevel(logging.NOTSET)

    def test_json_says_for_whom(self, capsys: pytest.CaptureFixture[str]) -> None:
        logs.configure("info", "json")
        status = {"phase": "Populating", "migration": {"id": "m1"}}
        with about("search/docs", status):
            try:
                raise ZeroDivisionError
            except ZeroDivisionError:
                logging.getLogger("teal.step").exception("%d points", 3)
        logging.getLogger("teal.step").info("afterwards")
        first, second = map(json.loads, capsys.readouterr().err.splitlines())
        assert (first["resource"], first["migration"], first["phase"]) == ("search/docs", "m1", "Populating")
        assert (first["level"], first["message"], first["logger"]) == ("error", "3 points", "teal.step")
        assert first["error"].endswith("ZeroDivisionError")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["time"])
        assert "resource" not in second

    def test_text_is_for_eyes_and_libraries_are_quiet(self, capsys: pytest.CaptureFixture[str]) -> None:
        logs.configure("info", "text")
        with about("search/docs", {"phase": "Ready"}):
            logging.getLogger("teal").info("all is well")
        logging.getLogger("kopf.objects").info("handler succeeded")
        logging.getLogger("kopf.objects").warning("handler failed")
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].endswith("INFO    [search/docs Ready] all is well")
        assert len(lines) == 2


def handlers_by_registry(registry: kopf.OperatorRegistry) -> dict[str, list[Any]]:
    """All that is registered, by class: kopf keeps a registry for each kind of handler, and shows none of them."""
    every = {type(part).__name__: part.get_all_handlers() for part in vars(registry).values()}
    return {name: list(found) for name, found in every.items() if found}


class TestKopf:
    async def test_only_events_of_both_kinds_are_handled(self) -> None:
        async def nowhere() -> Connection:
            raise NoClusterError("not asked")

        registered = handlers_by_registry(handlers.registry(lambda *_: None, nowhere, lambda: None))
        assert registered.keys() == {"WatchingRegistry", "ActivityRegistry"}
        watched = {each.selector for each in registered["WatchingRegistry"]}
        assert {(each.group, each.version, each.any_name) for each in watched} == {
            ("teal.dev", "v1alpha1", kind.plural) for kind in Kind
        }
        assert {each.activity.value for each in registered["ActivityRegistry"]} == {
            "authentication",
            "cleanup",
        }

    async def test_events_are_handed_on(self) -> None:
        delivered: list[tuple[object, ...]] = []
        observe = handlers.observer(Kind.EMBEDDING_SET, lambda *event: delivered.append(event))
        await observe(event={"type": None, "object": {"a": 1}}, logger=None)
        assert delivered == [(Kind.EMBEDDING_SET, None, {"a": 1})]

    def test_settings_keep_it_from_writing_and_from_giving_up(self) -> None:
        settings = handlers.settings()
        assert not settings.posting.enabled
        assert settings.scanning.disabled
        assert settings.peering.standalone
        assert settings.process.ultimate_exiting_timeout is None
        attempts = list(itertools.islice(settings.networking.error_backoffs, 1000))  # type: ignore[arg-type]
        assert len(attempts) == 1000
        assert max(attempts) <= 10

    def test_credentials_are_those_of_the_connection(self) -> None:
        configuration = Configuration(host="https://api:6443")
        configuration.api_key["BearerToken"] = "bearer abc"
        configuration.ssl_ca_cert = "/ca.crt"
        info = handlers.credentials(Connection(configuration, "search"))
        assert info.as_http_headers() == {"Authorization": "bearer abc"}
        assert (info.server, info.ca_path, info.insecure) == ("https://api:6443", "/ca.crt", False)
        configuration.api_key.clear()
        assert handlers.credentials(Connection(configuration, "search")).as_http_headers() == {}

    async def test_watching_begins_anew_whatever_ended_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """And what it delivers arrives in the loop that started it, until it is told to stop."""
        runs: list[int] = []
        delivered: asyncio.Queue[str | None] = asyncio.Queue()

        async def operator(*, registry: Deliver, stop_flag: asyncio.Event, **_: object) -> None:
            runs.append(1)
            if len(runs) == 1:
                raise RuntimeError("kopf gave up")
            if len(runs) == 2:
                return
            registry(Kind.VECTOR_COLLECTION, "ADDED", {})
            await stop_flag.wait()

        async def served() -> None:
            return

        async def nowhere() -> Connection:
            raise NoClusterError("not asked")

        monkeypatch.setattr(kopf, "operator", operator)
        monkeypatch.setattr(handlers, "registry", lambda deliver, *_: deliver)
        metrics = Metrics()
        informer = Informer(
            nowhere, (), lambda _, event, __: delivered.put_nowait(event), served, metrics, restart_seconds=0.001
        )
        informer.start()
        assert await delivered.get() == "ADDED"
        await informer.stop()
        assert len(runs) == 3
        assert metrics.registry.get_sample_value("teal_informer_restarts_total") == 2

    @pytest.mark.parametrize("told_to_stop", [False, True])
    async def test_one_that_cannot_end_is_abandoned(
        self, monkeypatch: pytest.MonkeyPatch, told_to_stop: bool
    ) -> None:
        """A watch of kopf's that waits for the API server may swallow its cancellation."""
        runs: list[int] = []
        watching = asyncio.Queue[int]()
        main = asyncio.get_running_loop()

        async def operator(*, registry: Callable[[], None], stop_flag: asyncio.Event, **_: object) -> None:
            runs.append(1)
            main.call_soon_threadsafe(watching.put_nowait, len(runs))
            if told_to_stop or len(runs) == 2:
                await stop_flag.wait()
            registry()
            if len(runs) == 1:
                await asyncio.Event().wait()

        async def served() -> None:
            return

        async def nowhere() -> Connection:
            raise NoClusterError("not asked")

        monkeypatch.setattr(kopf, "operator", operator)
        monkeypatch.setattr(handlers, "registry", lambda _, __, cleaned_up: cleaned_up)
        informer = Informer(
            nowhere, (), lambda *_: None, served, Metrics(), restart_seconds=0.001, ending_seconds=0.05
        )
        informer.start()
        assert await watching.get() == 1
        if not told_to_stop:
            assert await watching.get() == 2
        await informer.stop()


async def test_stopping_an_informer_that_waits_for_definitions() -> None:
    cancelled: list[str] = []

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append("the wait")
            raise

    async def nowhere() -> Connection:
        raise NoClusterError("not asked")

    informer = Informer(nowhere, (), lambda *_: None, never, Metrics())
    informer.start()
    await asyncio.sleep(0)
    await informer.stop()
    assert cancelled == ["the wait"]


class TestUnless:
    async def test_the_result_if_nothing_stops_it(self) -> None:
        async def work() -> int:
            return 5

        assert await unless(asyncio.Event(), work()) == 5

    async def test_nothing_if_it_is_stopped(self) -> None:
        stop, cancelled = asyncio.Event(), asyncio.Event()

        async def work() -> int:
            stop.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise
            return 5

        assert await unless(stop, work()) is None
        assert cancelled.is_set()

    async def test_its_error_is_not_swallowed(self) -> None:
        async def work() -> int:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await unless(asyncio.Event(), work())


class TestConnection:
    CONFIG = """
apiVersion: v1
kind: Config
current-context: one
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {token: abc}}]
contexts:
- {name: one, context: {cluster: c, user: u, namespace: search}}
- {name: two, context: {cluster: c, user: u}}
"""

    async def test_a_context_has_a_namespace(self, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "config"  # type: ignore[operator]
        path.write_text(self.CONFIG)
        monkeypatch.setenv("KUBECONFIG", str(path))
        assert (await connect()).namespace == "search"
        found = await connect(path, "two")
        assert found.namespace == "default"
        assert found.configuration.host == "http://127.0.0.1:1"
        assert path.read_text() == self.CONFIG

    async def test_what_is_not_there_has_a_name(self, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "config"  # type: ignore[operator]
        with pytest.raises(NoClusterError, match=str(path)):
            await connect(path)
        path.write_text(self.CONFIG)
        with pytest.raises(NoClusterError, match="three"):
            await connect(path, "three")
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
        monkeypatch.delenv("KUBECONFIG", raising=False)
        with pytest.raises(NoClusterError, match="Service token file does not exist"):
            await connect()
