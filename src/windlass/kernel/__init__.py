"""Shared vocabulary: clock, ids, errors, pages. Standard library only; imports nothing of ours."""
