"""A process of a fault test on a host of its own, behind a cable of its own.

    python -m tests.faults.host DATABASE_URL NAME --cable FILE [--ahead SECONDS] [--release N] …

It does and says what ``member`` does, and ``host`` before: whether it could leave this machine's networks. Its clock is
ahead of the machine's by so many seconds, or behind; it knows the workflow ``parcel`` in so many versions.
"""

from __future__ import annotations

import asyncio
import os
import time
from urllib.parse import urlsplit, urlunsplit

from tests.faults import load, member
from tests.support.hosts import leave, lend_listener
from windlass import sleep, step, workflow
from windlass.kernel.clock import SECOND, SystemClock


@step
async def carry(seconds: float) -> float:
    """Take a while."""
    await asyncio.sleep(seconds)
    return seconds


async def _parcel(number: int) -> list[str]:
    first = await load.book(number)
    await carry(0.4)
    second = await load.book(number)
    await sleep(0.7)  # away from memory: whoever is there wakes it
    return [first, second, await load.book(number)]


@workflow(name="parcel")
async def parcel(number: int) -> list[str]:
    """Effects with some time between them."""
    return await _parcel(number)


async def parcel_by_air(number: int) -> list[str]:
    """As the next release does it: no step is the same."""
    await carry(0.1)
    first = await load.book(number)
    await carry(0.1)
    return [first, await load.book(number)]


def set_clock(ahead: int) -> None:
    """Have this machine's clock run so many seconds ahead."""

    def now(self: SystemClock) -> int:
        return time.time_ns() // 1000 + ahead * SECOND + self.correction

    SystemClock.now = now  # type: ignore[method-assign]


def main() -> None:
    """Leave, and live as a member does."""
    parser = member.arguments()
    parser.add_argument("--cable", default="")
    parser.add_argument("--ahead", type=int, default=0)
    parser.add_argument("--release", type=int, default=1)
    options = parser.parse_args()
    if options.ahead:
        set_clock(options.ahead)
    if options.release > 1:
        workflow(name="parcel", version="2")(parcel_by_air)
    if options.cable:
        member.say("host", alone=leave(options.name), network=os.stat("/proc/self/ns/net").st_ino)  # noqa: PTH116
        port = lend_listener(options.cable)
        parts = urlsplit(options.url)
        where = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{port}"
        name = f"application_name={os.getpid()}"
        options.url = urlunsplit(parts._replace(netloc=where, query=name))
    asyncio.run(member.live(options))


if __name__ == "__main__":
    main()
