"""A CDN that is slow now and then."""

import asyncio

from . import machine
from .blackout import COLUMNS, RATE, SIZE, cells, check, prepare
from .machine import LOAD_CORE
from .outcome import Chart, Column, Judged, Outcome, Table
from .reads import TAIL, at_rate, on_load_core, percentile, tail
from .servers import FaultyCdn, Gateway, Seaweed

SECONDS, WARM = 65, 5


def run(binaries, work, options, say):
    machine.require_weed()
    cdn = FaultyCdn.start(work)
    seaweed = Seaweed.start(work, LOAD_CORE)
    table, tails = Table("", [*COLUMNS, Column("extra requests", digits=2, share=True)]), {}
    for name, read in (('HedgeAfter = "off"', 'HedgeAfter = "off"'), ("as it comes: p98", "")):
        say(f"slow: {name}")
        gateway = Gateway.start(binaries["gateway"], work, f"slow {len(tails)}", cdn, seaweed.url, read=read)
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
        table.add(name, *cells(measured, content), extra)
        tails[name] = tail(measured)
    check(measured, content, "slow answers")
    return Outcome("Slow answers", [
        f"{RATE} reads of {SIZE // 1024} KiB a second, timed from when they are due; one answer of the "
        "CDN in a hundred is two seconds late. Extra requests are those to storage beside the share "
        "that goes there in any case.",
        table,
        Chart("Latency by share of reads", "", "ms", tails, places=list(TAIL), is_log=True, goal="slow.tail"),
        Judged("slow.tail", percentile([read.took * 1e3 for read in measured], 0.999)),
        Judged("slow.extra", extra),
        str(cores),
    ])
