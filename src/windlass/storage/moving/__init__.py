"""Moving an installation from its SQLite file to PostgreSQL while it works: what is the same whatever the drivers."""
