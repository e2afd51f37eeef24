"""Definitions: documents that say what a workflow does, checked, kept with their versions, and compared."""
