"""Changing workflows while runs of them are open: patch markers, checks before a deployment, and moving runs over."""
