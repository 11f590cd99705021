"""An endpoint is the identity of a connection: what it derives, and what it keeps to itself."""

from __future__ import annotations

import ssl

import pytest

from teal.domain.errors import TerminalError
from teal.qdrant.endpoint import Endpoint


@pytest.mark.parametrize(
    ("url", "root", "grpc_target"),
    [
        ("http://qdrant:6333/", "http://qdrant:6333", "qdrant:6334"),
        ("http://qdrant", "http://qdrant:6333", "qdrant:6334"),
        ("https://search.example:443", "https://search.example:443", "search.example:6334"),
        ("http://[::1]:7000", "http://[::1]:7000", "[::1]:6334"),
        ("http://gateway:80/qdrant", "http://gateway:80/qdrant", "gateway:6334"),
    ],
)
def test_addresses(url: str, root: str, grpc_target: str) -> None:
    endpoint = Endpoint(url)
    assert endpoint.root == root
    assert endpoint.grpc_target == grpc_target


def test_peers_are_asked_on_our_port_and_scheme() -> None:
    endpoint = Endpoint("https://qdrant:7777")
    assert endpoint.peer_root("http://qdrant-2.qdrant-headless:6335/") == "https://qdrant-2.qdrant-headless:7777"


def test_the_key_is_part_of_the_identity_but_not_of_the_text() -> None:
    endpoint = Endpoint("http://qdrant", api_key="s3cret-key")
    assert "s3cret-key" not in repr(endpoint)
    assert endpoint != Endpoint("http://qdrant", api_key="rotated")
    assert hash(endpoint) == hash(Endpoint("http://qdrant/", api_key="s3cret-key"))


@pytest.mark.parametrize("url", ["qdrant:6333", "ftp://qdrant", "http://", ""])
def test_what_is_no_url_is_terminal(url: str) -> None:
    with pytest.raises(TerminalError, match="not a Qdrant URL") as caught:
        Endpoint(url)
    assert caught.value.reason == "BadQdrantURL"


def test_a_ca_that_is_no_certificate_names_the_secret() -> None:
    with pytest.raises(TerminalError, match="caSecretRef") as caught:
        Endpoint("https://qdrant", ca="not a certificate").ssl_context()
    assert caught.value.reason == "BadCertificateAuthority"


def test_certificates_are_checked_unless_told_otherwise() -> None:
    assert Endpoint("https://qdrant").ssl_context().verify_mode is ssl.CERT_REQUIRED
    assert Endpoint("https://qdrant", insecure_skip_verify=True).ssl_context().verify_mode is ssl.CERT_NONE
