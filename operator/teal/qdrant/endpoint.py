"""Where a Qdrant is, and its credentials: connections are shared by endpoint.

Two resources with equal endpoints use the same connections. A rotated key makes another endpoint, so a
connection never lives longer than its credentials. Secrets do not appear in `repr` and in logs.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from teal.domain.errors import TerminalError

REST_PORT = 6333
GRPC_PORT = 6334


@dataclass(frozen=True)
class Endpoint:
    """One Qdrant. `url` is the REST root, `ca` the PEM text of the CA that signed its certificate.

    If the scheme of the URL is https, both REST and gRPC use TLS.
    """

    url: str
    grpc_port: int = GRPC_PORT
    api_key: str | None = field(default=None, repr=False)
    ca: str | None = field(default=None, repr=False)
    insecure_skip_verify: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", self.url.rstrip("/"))
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise TerminalError(
                "BadQdrantURL", f"{self.url!r} is not a Qdrant URL. It must look like http://qdrant:6333."
            )

    @property
    def tls(self) -> bool:
        return urlsplit(self.url).scheme == "https"

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The REST port; if the URL has none, Qdrant's default, as in the client libraries."""
        return urlsplit(self.url).port or REST_PORT

    @property
    def root(self) -> str:
        """`url` with an explicit port."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{_bracketed(self.host)}:{self.port}{parts.path}"

    @property
    def grpc_target(self) -> str:
        return f"{_bracketed(self.host)}:{self.grpc_port}"

    def peer_root(self, uri: str) -> str:
        """The REST root of the peer that `/cluster` lists as `uri` (its address for other peers, on another
        port).
        """
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{_bracketed(urlsplit(uri).hostname or uri)}:{self.port}"

    def ssl_context(self) -> ssl.SSLContext:
        """How the certificate of this endpoint is checked.

        Raises:
            TerminalError: `ca` is not a certificate in PEM form.
        """
        try:
            context = ssl.create_default_context(cadata=self.ca)
        except (ssl.SSLError, ValueError) as error:
            raise TerminalError(
                "BadCertificateAuthority",
                f"The CA for {self.url} is not a PEM certificate ({error}). Check the Secret of tls.caSecretRef.",
            ) from error
        if self.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
