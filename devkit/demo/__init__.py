"""Teal on real input: changes, migrated while readers and writers go on and are counted.

plain.py     the main job: three changes
rollback.py  a cut-over that the watch undoes
chaos.py     three changes, with kills
play.py      what they have in common
stage.py     the parts: control plane, Qdrant, encoders, operator, namespace
story.py     the two resources, and the three changes as a Git history would have them
cluster.py   what a user does with the API server: apply, look, describe
screen.py    what is shown while it runs
outcome.py   the verdict and its line of JSON
"""
