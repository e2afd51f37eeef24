"""The measure: ours, the peers and the bare limit on one machine, each durable, in turn.

``python -m benchmarks`` runs the table and writes ``results.md`` and ``results.json``. Every measurement is a
process of its own on a database of its own, so that no contender pays for another's garbage.
"""
