"""Durable workflow automation in one Python package.

A run survives a crash at any instant: nothing acknowledged is lost, nothing recorded is repeated.
"""

__version__ = "0.1.0"
