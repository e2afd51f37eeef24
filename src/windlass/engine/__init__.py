"""Durable execution: authoring, the journal and its replay, leases, queues and timers. Knows no SQL."""
