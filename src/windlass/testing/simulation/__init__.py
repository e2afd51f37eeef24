"""Processes that crash on a virtual clock, in one thread and from a seed: the real engine and the real committer."""
