"""A real Kubernetes control plane on this machine: etcd, kube-apiserver and, on request, the controllers."""

from devkit.control_plane.control_plane import ControlPlane, NotLocalError

__all__ = ["ControlPlane", "NotLocalError"]
