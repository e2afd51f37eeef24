"""What a step of a definition can be."""
