"""A process that starts on a database once its input ends, stores a record, and says what it does."""

import asyncio
import logging
import sys

from windlass import settings
from windlass.bootstrap import run_application


async def store() -> None:
    """Start, store a record and end."""
    async with run_application(settings.load()) as application:
        record = await application.records.create(b'{"source":"s","category":"c","payload":{}}')
        sys.stdout.write(f"stored {record.id}\n")


def main() -> None:
    """Wait for the end of the input, then start."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    asyncio.run(store())
