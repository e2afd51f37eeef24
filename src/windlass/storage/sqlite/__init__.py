"""The embedded backend: one file, WAL, ``synchronous=FULL``, any number of processes on one machine."""
