"""The process that clients talk to: REST and gRPC on one side, a worker for each collection on the other.

It owns names (collections, aliases) and configurations, and never decodes points.
"""
