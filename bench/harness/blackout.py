"""A CDN that falls silent for half a minute under load, and comes back."""

import asyncio
import random

from collections import Counter

from . import machine
from .machine import LOAD_CORE, Unfit
from .reads import at_rate, goal, on_load_core, percentile, publish
from .report import table
from .servers import FaultyCdn, Gateway, Seaweed

RATE = 300
OBJECTS, SIZE = 100, 50 * 1024
#: In seconds: storage alone; and when the CDN falls silent, is back, and the end.
ALONE, SILENT, BACK, END = 20, 15, 45, 70
#: What counts as a delay, beyond what storage alone takes, in seconds.
DELAY = 0.025


def run(binaries, work, options, say):
    if not machine.weed():
        return "## Blackout\n\nLeft out: no SeaweedFS (set SAFELIGHT_TEST_WEED)."
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
    text = _report(alone, reads, content, gets[1] - gets[0], back_at)
    return f"{text}\n\n{cores}"


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
    return "".join(f", {count} × {kind}" for kind, count in wrong.items())


def row(name, reads, content):
    times = [read.took * 1e3 for read in reads]
    shares = [f"{percentile(times, share):.1f}" for share in (0.5, 0.99, 0.999)]
    from_cdn = sum(read.from_cdn for read in reads) / len(reads)
    errors = sum(not is_right(read, content) for read in reads)
    return [name, f"{len(reads):,}", errors, f"{from_cdn:.1%}", *shares, f"{max(times):.1f}"]


HEADS = ["", "reads", "client errors", "from the CDN", "p50 ms", "p99 ms", "p99.9 ms", "worst ms"]


def _report(alone, reads, content, gets, back_at):
    usual = percentile([read.took for read in alone], 0.5)
    p99_alone = percentile([read.took for read in alone], 0.99)
    before = [read for read in reads if 5 <= read.due < SILENT - 1]
    dark = [read for read in reads if SILENT <= read.due < back_at]
    settled = [read for read in dark if read.due >= SILENT + 1]
    after = [read for read in reads if read.due >= back_at]
    errors = sum(not is_right(read, content) for read in reads)
    # Those that were out when the CDN fell silent have a part in it as well.
    delays = [read.took - usual for read in reads if read.due >= SILENT - 1]
    delayed = sum(delay > DELAY for delay in delays)
    p99 = percentile([read.took for read in settled], 0.99)
    recovered = [read.due - back_at for read in after if read.from_cdn]
    recovery = min(recovered) if recovered else float("inf")
    per_read = gets / len(dark)
    most = 5 + 0.1 * RATE
    return "\n\n".join([
        "## Blackout",
        f"{RATE} reads of {SIZE // 1024} KiB a second, each sent when it is due, and timed from then "
        f"on. After {SILENT} s the CDN falls silent for {BACK - SILENT} s: connections that are there "
        "answer nothing, new ones hang in the handshake. A read is delayed if it takes "
        f"{DELAY * 1e3:.0f} ms longer than the median of storage alone.",
        table(HEADS, [
            row("storage alone", alone, content),
            row("before", before, content),
            row("the CDN is silent", dark, content),
            row("… but its first second", settled, content),
            row("the CDN is back", after, content),
        ]),
        "\n".join([
            goal(f"no client errors: {errors}{kinds(reads, content)}", errors == 0),
            goal(f"at most {most:.0f} reads delayed: {delayed}", delayed <= most),
            goal(f"none by more than 350 ms: {max(delays) * 1e3:.0f} ms", max(delays) <= 0.350),
            goal(
                "then p99 within 5 ms of storage alone: "
                f"{p99 * 1e3:.1f} ms beside {p99_alone * 1e3:.1f} ms",
                p99 <= p99_alone + 0.005,
            ),
            goal(f"the CDN serves again within 10 s of its return: {recovery:.1f} s", recovery <= 10),
            goal(f"at most 1.05 requests to storage for each read: {per_read:.3f}", per_read <= 1.05),
        ]),
    ])
