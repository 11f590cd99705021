"""The gRPC connections to a Qdrant, with the trust settings of the endpoint.

gRPC cannot skip the check of a certificate. For `insecureSkipVerify` the certificate of the server is fetched
first, and then it is the only one that this connection trusts. That is as safe as skipping the check, no more
and no less. When the certificate is replaced, the connection fails, and a new connection fetches the new
certificate.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from itertools import cycle

import grpc

from teal.qdrant.endpoint import Endpoint
from teal.qdrant.errors import tls_failed, unreachable

CONNECT_SECONDS = 5.0

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # By default channels to one address share a connection; each stream needs its own.
    ("grpc.use_local_subchannel_pool", 1),
    # The default backoff reaches two minutes, when a restarted Qdrant is long back.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5000),
)


class Connections:
    """As many connections to one Qdrant as there are streams, made when the first of them is asked for."""

    def __init__(self, endpoint: Endpoint, streams: int) -> None:
        self._endpoint = endpoint
        self._streams = streams
        self._opening = asyncio.Lock()
        self._channels: list[grpc.aio.Channel] = []
        self._retired: list[grpc.aio.Channel] = []
        self._turns: cycle[grpc.aio.Channel] = cycle(())

    async def next(self, *, any_will_do: bool) -> grpc.aio.Channel:
        """The connection whose turn it is; always the first one for what must come from one peer."""
        if not self._channels:
            async with self._opening:
                if not self._channels:
                    self._channels = [await open_channel(self._endpoint) for _ in range(self._streams)]
                    self._turns = cycle(self._channels)
        return next(self._turns) if any_will_do else self._channels[0]

    def renew(self) -> None:
        """Let new connections be made; calls that are under way end on the old ones."""
        self._retired += self._channels
        self._channels = []

    async def close(self) -> None:
        channels, self._channels, self._retired = [*self._channels, *self._retired], [], []
        for channel in channels:
            await channel.close()


async def open_channel(endpoint: Endpoint) -> grpc.aio.Channel:
    """A channel to the gRPC port of the endpoint; it connects when it is first used.

    Raises:
        TransientError: `insecure_skip_verify`, and the certificate of the server could not be fetched.
    """
    if not endpoint.tls:
        return grpc.aio.insecure_channel(endpoint.grpc_target, OPTIONS)
    if endpoint.insecure_skip_verify:
        certificate, name = await _shown_certificate(endpoint)
        credentials = grpc.ssl_channel_credentials(certificate.encode())
        options = (*OPTIONS, ("grpc.ssl_target_name_override", name))
        return grpc.aio.secure_channel(endpoint.grpc_target, credentials, options)
    credentials = grpc.ssl_channel_credentials(endpoint.ca.encode() if endpoint.ca else None)
    return grpc.aio.secure_channel(endpoint.grpc_target, credentials, OPTIONS)


async def _shown_certificate(endpoint: Endpoint) -> tuple[str, str]:
    """The certificate (PEM) of the gRPC port, and a host name that it is valid for."""
    blind = endpoint.ssl_context()
    pem = ssl.DER_cert_to_PEM_cert((await _handshake(endpoint, blind)).getpeercert(binary_form=True) or b"")
    # Python decodes the names of a certificate only after verification, so it is verified against itself.
    pinned = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    pinned.check_hostname = False
    pinned.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    pinned.load_verify_locations(cadata=pem)
    shown = (await _handshake(endpoint, pinned)).getpeercert() or {}
    names = [str(entry[1]) for entry in shown.get("subjectAltName", ())]
    return pem, names[0] if names else endpoint.host


async def _handshake(endpoint: Endpoint, context: ssl.SSLContext) -> ssl.SSLObject:
    context.set_alpn_protocols(["h2"])
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(endpoint.host, endpoint.grpc_port, ssl=context)
    except ssl.SSLError as error:
        raise tls_failed(endpoint.grpc_target, str(error)) from error
    except OSError as error:
        raise unreachable(endpoint.grpc_target, str(error) or "time-out") from error
    try:
        found: ssl.SSLObject = writer.get_extra_info("ssl_object")
        return found
    finally:
        # An HTTP/2 server has already sent its settings, so a clean TLS shutdown fails.
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()
