"""Schedules: runs that start at the times of a crontab line, once for each, over any number of processes."""
