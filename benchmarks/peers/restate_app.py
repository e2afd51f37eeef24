"""The Restate service that is measured, served by Hypercorn as Restate's documents say."""

# mypy: disable-error-code="import-not-found, untyped-decorator"
# The library lives in a virtual environment of its own, where mypy does not look.

from __future__ import annotations

from datetime import timedelta

import restate

bench = restate.Service("bench")


@bench.handler()
async def chain(context: restate.Context, steps: int) -> int:
    """Run so many no-op steps."""
    for number in range(steps):
        await context.run_typed(f"step-{number}", lambda number=number: number)
    return steps


@bench.handler()
async def parent(context: restate.Context, children: int) -> int:
    """Call that many 1-step handlers at once and wait for all."""
    calls = [context.service_call(chain, 1) for _ in range(children)]
    await restate.gather(*calls)
    return children


@bench.handler()
async def sleeper(context: restate.Context, hours: int) -> int:
    """Sleep durably."""
    await context.sleep(timedelta(hours=hours))
    return hours


app = restate.app(services=[bench])
