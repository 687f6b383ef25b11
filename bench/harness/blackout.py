"""A CDN that falls silent for half a minute under load, and comes back."""

import asyncio
import random

from collections import Counter

from . import machine
from .machine import LOAD_CORE, Unfit
from .outcome import Chart, Column, Judged, Outcome, Table
from .reads import at_rate, on_load_core, percentile, publish
from .servers import FaultyCdn, Gateway, Seaweed

RATE = 300
OBJECTS, SIZE = 100, 50 * 1024
#: In seconds: storage alone; and when the CDN falls silent, is back, and the end.
ALONE, SILENT, BACK, END = 20, 15, 45, 70
#: What counts as a delay, beyond what storage alone takes, in seconds.
DELAY = 0.025


def run(binaries, work, options, say):
    machine.require_weed()
    cdn = FaultyCdn.start(work)
    seaweed = Seaweed.start(work, LOAD_CORE)
    gateway = Gateway.start(binaries["gateway"], work, "blackout", cdn, seaweed.url)
    seaweed.wait_for_buckets(gateway)
    plain, shop, content = prepare(gateway, cdn)

    say("blackout: storage alone")
    with on_load_core():
        alone, _ = asyncio.run(at_rate(gateway.port, plain, RATE, ALONE))
    alone = [read for _, read in alone[RATE * 5 :]]
    check(alone, content, "storage alone")

    say(f"blackout: {END} s, of which the CDN is silent {BACK - SILENT} s")
    gets = []

    def change(mode):
        async def event():
            gets.append(await asyncio.to_thread(seaweed.gets))
            await asyncio.to_thread(cdn.mode, mode)

        return event

    with on_load_core() as cores:
        events = [(SILENT, change("silent")), (BACK, change("well"))]
        reads, (_, back_at) = asyncio.run(at_rate(gateway.port, shop, RATE, END, events))
    reads = [read for _, read in reads]
    parts = _report(alone, reads, content, gets[1] - gets[0], back_at)
    return Outcome("Blackout", [*parts, str(cores)])


def prepare(gateway, cdn):
    """The same bytes under keys of both apps, in storage and at the CDN: the paths of `plain`, those
    of `shop`, the bytes."""
    content = random.Random(1).randbytes(SIZE)
    paths = {}
    for app in ("plain", "shop"):
        keys = publish(gateway, app, [content] * OBJECTS)
        paths[app] = [gateway.path_of(key, app) for key in keys]
        for key in keys:
            cdn.put(key, content)
    return paths["plain"], paths["shop"], content


def check(reads, content, what):
    wrong = sum(not is_right(read, content) for read in reads)
    if wrong:
        raise Unfit(f"void: {wrong} reads failed: {what}")


def is_right(read, content):
    return read.status == 200 and read.whole and read.body == content


def kinds(reads, content):
    """What kinds of errors there were, as text."""
    wrong = Counter(read.status if read.whole else "ended early" for read in reads if not is_right(read, content))
    return " ".join(f"{count} × {kind}." for kind, count in wrong.items())


#: Of a table of reads by their fate; `cells` fills it.
COLUMNS = [
    Column("reads"),
    Column("client errors"),
    Column("from the CDN", digits=1, share=True),
    Column("p50 ms", digits=1),
    Column("p99 ms", digits=1),
    Column("p99.9 ms", digits=1),
    Column("worst ms", digits=1),
]


def cells(reads, content):
    times = [read.took * 1e3 for read in reads]
    from_cdn = sum(read.from_cdn for read in reads) / len(reads)
    errors = sum(not is_right(read, content) for read in reads)
    return [len(reads), errors, from_cdn, *(percentile(times, share) for share in (0.5, 0.99, 0.999)), max(times)]


def _report(alone, reads, content, gets, back_at):
    usual = percentile([read.took for read in alone], 0.5)
    dark = [read for read in reads if SILENT <= read.due < back_at]
    settled = [read for read in dark if read.due >= SILENT + 1]
    after = [read for read in reads if read.due >= back_at]
    table = Table("", COLUMNS)
    for name, mine in (
        ("storage alone", alone),
        ("before", [read for read in reads if 5 <= read.due < SILENT - 1]),
        ("the CDN is silent", dark),
        ("… but its first second", settled),
        ("the CDN is back", after),
    ):
        table.add(name, *cells(mine, content))
    errors = sum(not is_right(read, content) for read in reads)
    # Those that were out when the CDN fell silent have a part in it as well.
    delays = [read.took - usual for read in reads if read.due >= SILENT - 1]
    p99s = [percentile([read.took for read in mine], 0.99) * 1e3 for mine in (settled, alone)]
    recovered = [read.due - back_at for read in after if read.from_cdn]
    return [
        f"{RATE} reads of {SIZE // 1024} KiB a second, each sent when it is due, and timed from then "
        f"on. After {SILENT} s the CDN falls silent for {BACK - SILENT} s: connections that are there "
        "answer nothing, new ones hang in the handshake. A read is delayed if it takes "
        f"{DELAY * 1e3:.0f} ms longer than the median of storage alone.",
        table,
        *_charts(reads, usual, back_at),
        Judged("blackout.errors", errors, kinds(reads, content)),
        Judged("blackout.delayed", sum(delay > DELAY for delay in delays)),
        Judged("blackout.delay", max(delays) * 1e3),
        Judged("blackout.p99", p99s[0] - p99s[1], f"It is {p99s[0]:.1f} ms, beside {p99s[1]:.1f} ms."),
        # If it never serves again: for longer than was watched.
        Judged("blackout.recovery", min(recovered, default=END)),
        Judged("blackout.requests", gets / len(dark)),
    ]


def _charts(reads, usual, back_at):
    """Second by second: latencies, delayed reads, and who answers."""
    seconds = [[read for read in reads if int(read.due) == second] for second in range(END)]

    def line(figure):
        return [[second, figure(mine)] for second, mine in enumerate(seconds) if mine]

    spans = [[SILENT, back_at, "the CDN is silent"]]
    return [
        Chart("Latency in each second", "seconds", "ms", {
            name: line(lambda mine: percentile([read.took * 1e3 for read in mine], share))
            for name, share in (("p50", 0.5), ("p99", 0.99), ("worst", 1.0))
        }, spans=spans, is_log=True),
        Chart("Answers in each second", "seconds", "reads", {
            "from the CDN": line(lambda mine: sum(read.from_cdn for read in mine)),
            "from storage": line(lambda mine: sum(not read.from_cdn for read in mine)),
            "delayed": line(lambda mine: sum(read.took - usual > DELAY for read in mine)),
        }, spans=spans),
    ]
