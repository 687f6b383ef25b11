"""Reads whose CDN breaks off in the middle: they arrive whole and right, or visibly broken."""

import asyncio
import hashlib
import random

from collections import Counter

from . import machine
from .machine import LOAD_CORE, Unfit
from .outcome import Column, Judged, Outcome, Table
from .reads import on_load_core, one_after_another, upload
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
    machine.require_weed()
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
    arrived = whole["right"] + whole["fell back"]
    begun = CHANGED_READS - broken["fell back"]
    table = Table("where storage has", [
        Column("reads"),
        Column("complete and identical"),
        Column("of those healed"),
        Column("visibly aborted"),
        Column("from storage from the start"),
        Column("wrong, as if complete"),
    ], stacked=["complete and identical", "visibly aborted", "wrong, as if complete"])
    if not begun:
        raise Unfit("void: the CDN began no body of the objects that have changed")
    table.add("the same object", READS, arrived, healed, whole["aborted"], whole["fell back"], whole["wrong"])
    table.add(
        "another one", CHANGED_READS, broken["right"], healed_changed, broken["aborted"], broken["fell back"],
        broken["wrong"],
    )
    return Outcome("Healing", [
        f"{READERS} readers, objects of {SMALLEST // 1024} KiB to {LARGEST // 1024} KiB, SHA-256 of "
        "every body. The CDN breaks every body at a random byte: 45 % by FIN, 45 % by RST, 10 % "
        "stand still. A read falls back from the start if the RST was quicker than the head.",
        table,
        Judged("healing.whole", arrived / READS),
        Judged("healing.wrong", whole["wrong"] + broken["wrong"]),
        Judged("healing.aborted", broken["aborted"] / begun),
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
