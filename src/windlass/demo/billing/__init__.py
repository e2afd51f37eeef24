"""A billing service: it gives companies provider numbers, and fails in the ways that billing services fail."""
