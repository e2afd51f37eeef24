"""What commands do; loaded when they run."""
