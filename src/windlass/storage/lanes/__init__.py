"""Fair claims: tenants and lanes in turn, within limits that they share."""
