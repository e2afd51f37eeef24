"""The history of the database, applied with Alembic on SQLite and PostgreSQL alike."""
