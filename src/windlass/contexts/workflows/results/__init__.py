"""Results that steps keep for later runs of their tenant."""
