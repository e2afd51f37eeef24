"""Requests to other hosts: which may be spoken to, and a client that keeps to it."""
