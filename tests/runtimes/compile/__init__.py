"""Tests of the compiled forms of table models."""
