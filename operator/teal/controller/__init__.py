"""Work queue, cache, reconciler, status and events."""
