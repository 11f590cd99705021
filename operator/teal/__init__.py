"""Teal keeps Qdrant collections as they are declared, by blue-green migration."""

from importlib.metadata import version

__version__ = version("teal-operator")
