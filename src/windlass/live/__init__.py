"""Runs that are open: what they tell while they go on, and what they can be asked."""
