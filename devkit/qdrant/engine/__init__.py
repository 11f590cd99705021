"""The process that owns one collection: Qdrant's engine, and what a server adds to it."""
