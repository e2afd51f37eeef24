"""A database in the memory of one process: it outlives its sessions, so that a simulation can crash them."""
