"""Runs whose journals are replayed."""

from tests.engine.lab import lab_in_memory

__all__ = ["lab_in_memory"]
