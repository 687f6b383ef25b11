"""Reads whose CDN breaks off in the middle: they arrive whole and right, or visibly broken."""

import asyncio
import hashlib
import random

from collections import Counter

from . import machine
from .machine import LOAD_CORE, Unfit
from .reads import goal, on_load_core, one_after_another, upload
from .report import table
from .servers import FaultyCdn, Gateway, Seaweed

READS, CHANGED_READS = 10_000, 2_000
OBJECTS, CHANGED_OBJECTS = 200, 40
SMALLEST, LARGEST = 1024, 1024 * 1024
READERS = 32

#: Every read begins at the CDN. A body that stands still costs its reader this time.
_READ = """
OriginShare = 0
HedgeAfter = "off"
StallTimeout = "1s"
"""


def run(binaries, work, options, say):
    if not machine.weed():
        return "## Healing\n\nLeft out: no SeaweedFS (set SAFELIGHT_TEST_WEED)."
    cdn = FaultyCdn.start(work)
    seaweed = Seaweed.start(work, LOAD_CORE)
    gateway = Gateway.start(binaries["gateway"], work, "healing", cdn, seaweed.url, read=_READ)
    seaweed.wait_for_buckets(gateway)
    choose = random.Random(1)
    same = _objects(gateway, cdn, choose, OBJECTS)
    changed = _objects(gateway, cdn, choose, CHANGED_OBJECTS, behind=True)
    cdn.mode("broken")
    say(f"healing: {READS:,} reads")
    whole, healed = _measure(gateway, same, READS, choose)
    say(f"healing: {CHANGED_READS:,} reads of objects that have changed behind the CDN")
    broken, healed_changed = _measure(gateway, changed, CHANGED_READS, choose)
    heads = ["storage has", "reads", "complete and identical", "of those healed", "visibly aborted"]
    heads += ["from storage from the start", "wrong, as if complete"]
    arrived = whole["right"] + whole["fell back"]
    begun = CHANGED_READS - broken["fell back"]
    return "\n\n".join([
        "## Healing",
        f"{READERS} readers, objects of {SMALLEST // 1024} KiB to {LARGEST // 1024} KiB, SHA-256 of "
        "every body. The CDN breaks every body at a random byte: 45 % by FIN, 45 % by RST, 10 % "
        "stand still. A read falls back from the start if the RST was quicker than the head.",
        table(heads, [
            ["the same object", f"{READS:,}", arrived, healed, whole["aborted"], whole["fell back"], whole["wrong"]],
            ["another one", f"{CHANGED_READS:,}", broken["right"], healed_changed, broken["aborted"], broken["fell back"], broken["wrong"]],
        ]),
        "\n".join([
            goal("at least 99.9 % arrive complete and identical", arrived >= 0.999 * READS),
            goal("no wrong body is delivered as if complete", not whole["wrong"] + broken["wrong"]),
            goal(
                "of the reads that the CDN had begun, 100 % are visibly aborted where the object has changed",
                broken["aborted"] == begun,
            ),
        ]),
    ])


def _objects(gateway, cdn, choose, count, behind=False):
    """Uploads objects of random sizes. Gives, by path, the digests of what the CDN and what storage
    has; they differ if the objects change `behind` the CDN."""
    digests = {}
    for _ in range(count):
        size = int(SMALLEST * (LARGEST / SMALLEST) ** choose.random())
        at_cdn = choose.randbytes(size)
        grant = gateway.presign()
        upload(grant, at_cdn)
        in_storage = at_cdn
        if behind:
            in_storage = choose.randbytes(size)
            upload(grant, in_storage)
        cdn.put(grant["key"], at_cdn)
        digests[gateway.path_of(grant["key"])] = [hashlib.sha256(one).digest() for one in (at_cdn, in_storage)]
    return digests


def _measure(gateway, digests, reads, choose):
    """What became of so many reads, and how many bodies were healed."""
    paths = choose.choices(list(digests), k=reads)
    seen = Counter()

    def judge(path, read):
        at_cdn, in_storage = digests[path]
        digest = hashlib.sha256(read.body).digest()
        if not read.whole:
            seen["aborted"] += 1
        elif read.status == 200 and read.from_cdn and digest == at_cdn:
            seen["right"] += 1
        elif read.status == 200 and not read.from_cdn and digest == in_storage:
            seen["fell back"] += 1
        else:
            seen["wrong"] += 1

    before = gateway.total("safelight_streams_healed_total")
    with on_load_core():
        asyncio.run(one_after_another(gateway.port, paths, READERS, judge))
    if sum(seen.values()) != reads:
        raise Unfit(f"only {sum(seen.values())} of {reads} reads came to an end")
    return seen, int(gateway.total("safelight_streams_healed_total") - before)
