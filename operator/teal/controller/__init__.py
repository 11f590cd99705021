"""Decides when a resource is reconciled, and writes the result back to the API server. Knows no kopf."""
