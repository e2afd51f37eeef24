"""Databases: the committer, the tables, and the backends (SQLite, PostgreSQL, memory) behind the engine's ports."""
