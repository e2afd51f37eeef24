"""Replay of a recorded journal against the code of today: no database, no network, no step's body. Promise 4."""
