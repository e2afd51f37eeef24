"""Workflows written as documents: definitions, and the runs that the engine makes of them."""
