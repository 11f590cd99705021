"""What decides when a resource is looked at, and what of it goes back to the API server. Knows no kopf."""
