"""Bringing points from one collection to another."""
