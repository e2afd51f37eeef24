"""The step types, one file per family."""
