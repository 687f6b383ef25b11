"""A CDN that is slow now and then."""

import asyncio

from . import machine
from .blackout import HEADS, RATE, SIZE, check, is_right, prepare, row
from .machine import LOAD_CORE
from .reads import at_rate, goal, on_load_core, percentile
from .report import table
from .servers import FaultyCdn, Gateway, Seaweed

SECONDS, WARM = 65, 5


def run(binaries, work, options, say):
    if not machine.weed():
        return "## Slow answers\n\nLeft out: no SeaweedFS (set SAFELIGHT_TEST_WEED)."
    cdn = FaultyCdn.start(work)
    seaweed = Seaweed.start(work, LOAD_CORE)
    rows = []
    for name, read in (('HedgeAfter = "off"', 'HedgeAfter = "off"'), ("as it comes: p98", "")):
        say(f"slow: {name}")
        gateway = Gateway.start(binaries["gateway"], work, f"slow {len(rows)}", cdn, seaweed.url, read=read)
        seaweed.wait_for_buckets(gateway)
        cdn.mode("well")
        _, shop, content = prepare(gateway, cdn)
        counted = []

        async def count():
            gets = await asyncio.to_thread(seaweed.gets)
            share = await asyncio.to_thread(gateway.total, "safelight_origin_share_total")
            counted.append(gets - share)

        async def begin():
            await asyncio.to_thread(cdn.mode, "slow")
            await count()

        with on_load_core() as cores:
            events = [(WARM, begin), (SECONDS - 0.1, count)]
            reads, (begun, _) = asyncio.run(at_rate(gateway.port, shop, RATE, SECONDS, events))
        measured = [read for _, read in reads if read.due >= begun]
        extra = (counted[1] - counted[0]) / len(measured)
        rows.append([*row(name, measured, content), f"{extra:.2%}"])
    check(measured, content, "slow answers")
    tail = percentile([read.took for read in measured], 0.999) * 1e3
    goals = [
        goal(f"p99.9 under 150 ms: {tail:.1f} ms", tail < 150),
        goal(f"at most 5 % extra requests: {extra:.2%}", extra <= 0.05),
    ]
    return "\n\n".join([
        "## Slow answers",
        f"{RATE} reads of {SIZE // 1024} KiB a second, timed from when they are due; one answer of the "
        "CDN in a hundred is two seconds late. Extra requests are those to storage beside the share "
        "that goes there in any case.",
        table([*HEADS, "extra requests"], rows),
        "\n".join(goals),
        str(cores),
    ])
