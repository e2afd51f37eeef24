"""A test kit for workflows."""
