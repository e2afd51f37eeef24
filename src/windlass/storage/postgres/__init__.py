"""The distributed backend: one PostgreSQL, any number of machines; it orders, fences and replicates."""
