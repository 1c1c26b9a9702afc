"""Revisions, and how traffic moves from one to the next."""
