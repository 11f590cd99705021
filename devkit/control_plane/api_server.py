"""One kube-apiserver on loopback, over an etcd. Its port, certificate and tokens survive a restart.

A client that was connected before a restart must find the same server afterwards, as in a cluster. So all of
that is made once, in the folder of the run, and `start` only starts the process.
"""

from __future__ import annotations

import base64
import secrets
import signal
import ssl
from pathlib import Path

import httpx

from devkit import paths
from devkit.control_plane import binaries, kubeconfig
from devkit.control_plane.report import Report
from devkit.processes import Process, ProcessFailedError

# An elliptic curve key (SEC 1, P-256) is these bytes around any 32 random ones.
EC_KEY_HEAD = bytes.fromhex("30310201010420")
EC_KEY_TAIL = bytes.fromhex("a00a06082a8648ce3d030107")


class ApiServer:
    """A kube-apiserver with its keys, certificate and log in `folder`; `start` runs it."""

    def __init__(self, folder: Path, etcd_url: str, port: int | None, report: Report) -> None:
        self._executable = binaries.executable(binaries.API_SERVER, report)
        self._folder = folder
        self._etcd_url = etcd_url
        self._port = port or paths.free_port()
        self._process: Process | None = None
        self.token = secrets.token_urlsafe(32)
        self.url = f"https://127.0.0.1:{self._port}"
        self.account_key = folder / "service-account.key"
        self.kubeconfig = folder / "kubeconfig"
        self._tokens = folder / "tokens.csv"
        _write_private(self._tokens, f'{self.token},admin,admin,"system:masters"\n')
        _write_private(self.account_key, _new_key())

    @property
    def certificate(self) -> Path:
        """The certificate that the server made for itself, with its CA (PEM)."""
        return self._folder / "certificates" / "apiserver.crt"

    def start(self) -> None:
        """Start the process, and return when it is ready and the kubeconfig written."""
        if self._process is not None:
            raise RuntimeError("the API server is running already")
        self._process = Process("kube-apiserver", self._command(), self._folder / "kube-apiserver.log")
        self._process.wait_ready(self._ready, seconds=120)
        kubeconfig.write(
            self.kubeconfig, url=self.url, certificate=self.certificate.read_bytes(), token=self.token
        )

    def stop(self) -> None:
        """Stop the process, also when it is paused or was never started."""
        if self._process is not None:
            self.signal(signal.SIGCONT)
            self._process.stop()
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self._running().popen.send_signal(number)

    def check(self) -> None:
        """Raise `ProcessFailedError` if it is not running."""
        self._running().check()

    def _running(self) -> Process:
        if self._process is None:
            raise ProcessFailedError("the API server is not running")
        return self._process

    def _command(self) -> list[str]:
        issuer = "https://kubernetes.default.svc"
        return [
            str(self._executable),
            f"--etcd-servers={self._etcd_url}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._port}",
            f"--cert-dir={self.certificate.parent}",
            f"--token-auth-file={self._tokens}",
            "--authorization-mode=RBAC",
            f"--service-account-issuer={issuer}",
            f"--service-account-key-file={self.account_key}",
            f"--service-account-signing-key-file={self.account_key}",
            "--service-cluster-ip-range=10.0.0.0/24",
            # A Service's endpoints cannot be on loopback, and nothing here reaches the server by its Service.
            "--endpoint-reconciler-type=none",
            "--profiling=false",
        ]

    def _ready(self) -> bool:
        """The server reports ready, and the namespace exists that it creates a moment later."""
        if not self.certificate.exists():
            return False
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            trusted = ssl.create_default_context(cafile=str(self.certificate))
            with httpx.Client(base_url=self.url, headers=headers, verify=trusted, trust_env=False) as client:
                answers = [client.get(path) for path in ("/readyz", "/api/v1/namespaces/default")]
        except (ssl.SSLError, httpx.TransportError):  # half written, or not listening yet
            return False
        return all(answer.status_code == httpx.codes.OK for answer in answers)


def _new_key() -> str:
    der = EC_KEY_HEAD + secrets.token_bytes(32) + EC_KEY_TAIL
    return f"-----BEGIN EC PRIVATE KEY-----\n{base64.b64encode(der).decode()}\n-----END EC PRIVATE KEY-----\n"


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
