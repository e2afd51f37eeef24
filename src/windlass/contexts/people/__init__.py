"""People who decide: what runs ask them, and what they answer."""
