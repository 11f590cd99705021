"""The settings of `teal run`: read once, from options and environment, and never changed afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from teal.controller.election import Timing
from teal.controller.options import ControllerOptions

LogFormat = Literal["json", "text"]


@dataclass(frozen=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """`host:port`, `[::1]:port` or `:port` (all addresses).

        Raises:
            ValueError: it is none of these.
        """
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"{text!r} is not host:port")
        return cls(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 - what `:port` means everywhere

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class LeaseSettings:
    """Which Lease decides who works."""

    wanted: bool = True
    """False: nothing prevents two operators from working at the same time."""
    namespace: str | None = None
    name: str | None = None
    """`None`: as `Place.of` derives it from the served namespaces."""
    timing: Timing = field(default_factory=Timing)


@dataclass(frozen=True)
class Settings:
    """How one operator runs; times in seconds."""

    controller: ControllerOptions = field(default_factory=ControllerOptions)
    http: Address = Address("127.0.0.1", 8080)
    """Where /livez, /readyz and /metrics are served; port 0: a free one."""
    kubeconfig: Path | None = None
    """`None`: KUBECONFIG, the service account, or ~/.kube/config."""
    context: str | None = None
    """Context of the kubeconfig; `None`: its current one."""
    log_level: str = "info"
    log_format: LogFormat = "text"
    grace: float = 20.0
    """How long running steps may take to finish at shutdown; less than the grace period of the pod."""
    lease: LeaseSettings = field(default_factory=LeaseSettings)
