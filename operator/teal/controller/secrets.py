"""Secrets and ConfigMaps, read when they are used. Nothing is cached, logged or listed, so `get` is the only
permission that Teal needs.
"""

from __future__ import annotations

from collections.abc import Mapping

from teal.controller.kube import ApiServerError, GoneError, Kube
from teal.domain.errors import TerminalError, TransientError

FORBIDDEN = 403


class KubeSecrets:
    """`teal.migration.contract.Reads` from the API server."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def read(self, namespace: str, name: str, key: str) -> str:
        """See `Secrets.read`."""
        try:
            data = await self._kube.read_secret(namespace, name)
        except GoneError:
            raise TerminalError(
                "SecretNotFound", f"There is no Secret {name} in the namespace {namespace}: create it."
            ) from None
        except ApiServerError as error:
            if error.code == FORBIDDEN:
                raise TransientError(
                    "SecretForbidden",
                    f"Teal has no permission to read the Secret {name} in {namespace}: grant it `get`.",
                ) from error
            raise
        if key not in data:
            raise TerminalError("SecretKeyNotFound", f"The Secret {name} has no key {key}.")
        try:
            return data[key].decode().strip()
        except UnicodeDecodeError:
            raise TerminalError(
                "SecretKeyNotFound", f"The key {key} of the Secret {name} is not UTF-8 text."
            ) from None

    async def config_map(self, namespace: str, name: str) -> Mapping[str, str]:
        """See `Reads.config_map`."""
        try:
            return await self._kube.read_config_map(namespace, name)
        except GoneError:
            raise TerminalError(
                "ConfigMapNotFound", f"There is no ConfigMap {name} in the namespace {namespace}: create it."
            ) from None
        except ApiServerError as error:
            if error.code == FORBIDDEN:
                raise TransientError(
                    "ConfigMapForbidden",
                    f"Teal has no permission to read the ConfigMap {name} in {namespace}: grant it `get`.",
                ) from error
            raise
