"""Where a Qdrant is and how to be let in: the identity under which connections are shared.

Two resources with equal endpoints talk through the same connections, and a rotated key is another endpoint, so
a connection never outlives the credentials it was made with. What is secret stays out of `repr` and of logs.
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
    """One Qdrant. `url` is the REST root, `ca` PEM text of the authority that signed its certificate.

    TLS is used for REST and gRPC alike when the URL's scheme is https.
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
        """The REST port; Qdrant's own where the URL names none, as the client libraries have it."""
        return urlsplit(self.url).port or REST_PORT

    @property
    def root(self) -> str:
        """`url` with its port spelled out."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{_bracketed(self.host)}:{self.port}{parts.path}"

    @property
    def grpc_target(self) -> str:
        return f"{_bracketed(self.host)}:{self.grpc_port}"

    def peer_root(self, uri: str) -> str:
        """The REST root of the peer that `/cluster` lists under `uri` (its address for peers, another port)."""
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{_bracketed(urlsplit(uri).hostname or uri)}:{self.port}"

    def ssl_context(self) -> ssl.SSLContext:
        """How this endpoint's certificate is judged.

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
