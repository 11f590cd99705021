"""Keeping two live revisions in step."""
