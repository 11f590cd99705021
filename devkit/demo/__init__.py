"""Teal on real input: changes are migrated while readers and writers continue and are counted.

plain.py     the main demo: three changes
rollback.py  a cut-over that the watch rolls back
chaos.py     three changes, with kills
play.py      what they have in common
stage.py     the parts: control plane, Qdrant, encoders, operator, namespace
story.py     the two resources, and the three changes as a Git history would have them
screen.py    the output while it runs
outcome.py   the verdict and its line of JSON
"""
