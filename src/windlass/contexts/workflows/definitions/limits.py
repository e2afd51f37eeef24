"""How large a definition and its parts may be."""

MOST_BYTES = 262_144
"""Of a whole definition, as compact JSON."""
MOST_CONFIG_BYTES = 32_768
"""Of one step's config, as compact JSON."""
MOST_STEPS = 50
MOST_DEPTH = 64
MOST_ITERATIONS = 1000
LONGEST_NAME = 255
LONGEST_ID = 64
LONGEST_DESCRIPTION = 10_000
LONGEST_CONDITION = 4096
LONGEST_URL = 2048
LONGEST_KEY = 500
"""Of the template of a concurrency key."""
HIGHEST_LIMIT = 100_000
"""Of the runs of one concurrency key."""
MOST_TAGS = 50
LONGEST_TAG = 100
MOST_RETRIES = 1000
LONGEST_SECONDS = 366 * 86400
HIGHEST_VERSION = 2**31 - 1
