"""All that Teal uses of kopf: two handlers that pass events on, two activities, and settings that switch the rest
off.

Invariant: kopf never writes. Objects have only `on.event` handlers, which need no finalizer, annotation or Event,
and the settings switch off or rename what other handlers would write.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import kopf

from teal.api.common import GROUP, VERSION
from teal.controller.connection import Connection
from teal.controller.objects import Kind, RawObject

Deliver = Callable[[Kind, str | None, RawObject], None]
"""Called with kind, type (`None`: an item of a list) and object of each event; must not block."""
Connect = Callable[[], Awaitable[Connection]]

LOGIN_RETRY_SECONDS = 5.0


class EndlessBackoff:
    """Seconds between attempts to reach the API server. It retries for ever: a partition must not end the
    operator.
    """

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1.0, 2.0, 3.0, 5.0), itertools.repeat(8.0))


def registry(deliver: Deliver, connect: Connect, cleaned_up: Callable[[], None]) -> kopf.OperatorRegistry:
    """Handlers that pass every event of both kinds to `deliver`, and log in with `connect`.

    `cleaned_up` is called when kopf is about to end: nothing is watched any more.
    """
    handlers = kopf.OperatorRegistry()
    for kind in Kind:
        kopf.on.event(GROUP, VERSION, kind.plural, registry=handlers)(observer(kind, deliver))

    @kopf.on.login(registry=handlers, backoff=LOGIN_RETRY_SECONDS)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return credentials(await connect())

    @kopf.on.cleanup(registry=handlers)
    async def cleanup(**_: Any) -> None:
        cleaned_up()

    return handlers


def settings() -> kopf.OperatorSettings:
    """Settings that make kopf an informer only."""
    chosen = kopf.OperatorSettings()
    chosen.watching.chunk_size = 500
    chosen.watching.connect_timeout = 10.0
    chosen.watching.reconnect_backoff = 1.0
    chosen.networking.request_timeout = 30.0
    chosen.networking.connect_timeout = 10.0
    chosen.networking.error_backoffs = EndlessBackoff()
    chosen.networking.enforce_retry_after = True
    chosen.scanning.disabled = True
    chosen.peering.standalone = True
    chosen.posting.enabled = False
    chosen.posting.loggers = False
    chosen.process.ultimate_exiting_timeout = None
    chosen.persistence.finalizer = f"{GROUP}/unused"
    chosen.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP, v1=False)
    chosen.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP, v1=False)
    return chosen


def credentials(connection: Connection) -> kopf.ConnectionInfo:
    """`connection` as kopf's type."""
    configuration = connection.configuration
    scheme, _, token = (configuration.api_key.get("BearerToken") or "").partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme=scheme if token else None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy,
        trust_env=True,
        default_namespace=connection.namespace,
    )


def observer(kind: Kind, deliver: Deliver) -> Callable[..., Awaitable[None]]:
    """The handler that kopf calls with each event of one kind."""

    async def observe(event: kopf.RawEvent, **_: Any) -> None:
        deliver(kind, event["type"], event["object"])

    observe.__qualname__ = f"observe {kind.value}"
    return observe
