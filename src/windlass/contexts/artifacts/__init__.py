"""Artifacts: the files that runs leave behind."""
