"""Contenders that others wrote, each run from a virtual environment of its own."""
