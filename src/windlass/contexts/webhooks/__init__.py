"""Webhooks: what happened is told to others, signed, until they have heard it or nobody tries any more."""
