"""Runs of definitions: a document interpreted as a durable run."""
