"""Who may: users, service keys, tenants, tokens, and the audit log of what they did."""
