"""Secrets and ConfigMaps: what is missing is said with its name, what Secrets hold is never said."""

from __future__ import annotations

import pytest

from teal.controller.kube import ApiServerError
from teal.controller.secrets import KubeSecrets
from teal.domain.errors import TealError, TerminalError, TransientError
from tests.controller.fakes import FakeKube


@pytest.fixture
def kube() -> FakeKube:
    kube = FakeKube()
    kube.secrets["qdrant"] = {"key": b"s3cret\n", "bytes": b"\xff"}
    return kube


async def test_a_key_is_read(kube: FakeKube) -> None:
    assert await KubeSecrets(kube).read("search", "qdrant", "key") == "s3cret"


@pytest.mark.parametrize(
    ("name", "key", "error", "reason"),
    [
        ("other", "key", None, "SecretNotFound"),
        ("qdrant", "other", None, "SecretKeyNotFound"),
        ("qdrant", "bytes", None, "SecretKeyNotFound"),
        ("qdrant", "key", ApiServerError("forbidden", 403), "SecretForbidden"),
        ("qdrant", "key", ApiServerError("no answer"), "ApiServerUnavailable"),
    ],
)
async def test_what_is_wrong_has_a_name(
    kube: FakeKube, name: str, key: str, error: ApiServerError | None, reason: str
) -> None:
    kube.fail["secret"] = [error] if error else []
    with pytest.raises(TealError) as caught:
        await KubeSecrets(kube).read("search", name, key)
    assert caught.value.reason == reason
    assert isinstance(caught.value, TransientError if error else TerminalError)
    assert "s3cret" not in str(caught.value)


async def test_a_config_map_is_read(kube: FakeKube) -> None:
    kube.config_maps["golden"] = {"a.yaml": "[]"}
    assert await KubeSecrets(kube).config_map("search", "golden") == {"a.yaml": "[]"}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, "ConfigMapNotFound"),
        (ApiServerError("forbidden", 403), "ConfigMapForbidden"),
        (ApiServerError("no answer"), "ApiServerUnavailable"),
    ],
)
async def test_a_config_map_that_cannot_be_read(kube: FakeKube, error: ApiServerError | None, reason: str) -> None:
    kube.fail["config map"] = [error] if error else []
    with pytest.raises(TealError) as caught:
        await KubeSecrets(kube).config_map("search", "golden")
    assert caught.value.reason == reason
    assert isinstance(caught.value, TransientError if error else TerminalError)
