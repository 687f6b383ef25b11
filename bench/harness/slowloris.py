"""A good client among many slow ones."""

import asyncio
import random
import sys
import time

from pathlib import Path

from .machine import LOAD_CORE, Unfit
from .outcome import Column, Judged, Outcome, Spread, Table
from .processes import memory_kib, start, stop
from .reads import at_rate, on_load_core, percentile
from .servers import Gateway, start_cdn

_SLOW_CLIENTS = Path(__file__).resolve().parents[1] / "slow_clients.py"

CONNECTIONS = 1000
RATE, SIZE = 300, 50 * 1024

_READ = """
OriginShare = 0
HedgeAfter = "off"
"""


def run(binaries, work, options, say):
    cdn = start_cdn(work)
    gateway = Gateway.start(binaries["gateway"], work, "slowloris", cdn, read=_READ)
    key = gateway.presign()["key"]
    (work / "objects/images" / key).write_bytes(random.Random(1).randbytes(SIZE))
    path = gateway.path_of(key)
    # As a good client alone has used it; what that takes is no growth.
    _p99(gateway, path, options.seconds)
    before, _ = memory_kib(gateway.process)
    rounds, fewest = [], CONNECTIONS
    with on_load_core() as cores:
        for turn in range(options.rounds):
            alone = _p99(gateway, path, options.seconds)
            slow = _attack(gateway, work, options.seconds)
            try:
                among = _p99(gateway, path, options.seconds)
                fewest = min(fewest, _open(gateway))
            finally:
                stop(slow)
            _wait(gateway, lambda count: count < CONNECTIONS / 10, "the slow clients do not leave")
            rounds.append((alone, among))
            say(f"  {turn + 1}/{options.rounds} p99 {alone * 1e3:.1f} ms, among slow ones {among * 1e3:.1f} ms")
    if fewest < CONNECTIONS * 0.9:
        raise Unfit(f"void: only {fewest:.0f} slow connections were open")
    _, most = memory_kib(gateway.process)
    ratio = Spread.of(among / alone for alone, among in rounds)
    table = Table(f"p99 of {RATE} reads a second", [
        Column("ms", digits=1, drawn=True),
        Column("of that alone", digits=2, peer="alone", drawn=True, label="of that of a good client alone", goal="slowloris.p99"),
    ])
    table.add("alone", Spread.of(alone * 1e3 for alone, _ in rounds), 1)
    table.add("among slow clients", Spread.of(among * 1e3 for _, among in rounds), ratio)
    return Outcome("Slow clients", [
        f"{RATE} reads of {SIZE // 1024} KiB a second from the CDN, timed from when they are due, without and "
        f"with {CONNECTIONS:,} slow connections: headers that drip, heads that stand still, bodies that drip. "
        f"Of those at least {fewest:,.0f} were open.",
        table,
        Judged("slowloris.p99", ratio),
        Judged("slowloris.memory", (most - before) / 1024),
        str(cores),
    ])


def _p99(gateway, path, seconds):
    reads, _ = asyncio.run(at_rate(gateway.port, [path], RATE, seconds))
    wrong = [read for _, read in reads if read.status != 200 or not read.whole or len(read.body) != SIZE]
    if wrong:
        raise Unfit(f"void: {len(wrong)} of {len(reads)} reads of the good client failed: {wrong[0].status}")
    return percentile([read.took for _, read in reads], 0.99)


def _attack(gateway, work, seconds):
    log = work / "slow-clients.log"
    command = [sys.executable, _SLOW_CLIENTS, gateway.port, CONNECTIONS, seconds + 60]
    slow = start(command, LOAD_CORE, log)
    _wait(gateway, lambda count: count >= CONNECTIONS, "the slow clients do not come")
    return slow


def _open(gateway):
    return gateway.total("safelight_connections", 'listener="public"')


def _wait(gateway, is_so, otherwise, seconds=30):
    deadline = time.monotonic() + seconds
    while not is_so(_open(gateway)):
        if time.monotonic() > deadline:
            raise Unfit(otherwise)
        time.sleep(0.1)
