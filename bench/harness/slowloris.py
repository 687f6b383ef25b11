"""A good client among many slow ones."""

import asyncio
import random
import statistics
import sys
import time

from pathlib import Path

from .machine import LOAD_CORE, Unfit
from .processes import memory_kib, start, stop
from .reads import at_rate, goal, on_load_core, percentile
from .report import table
from .servers import Gateway, start_cdn

_SLOW_CLIENTS = Path(__file__).resolve().parents[1] / "slow_clients.py"

CONNECTIONS = 1000
RATE, SIZE = 300, 50 * 1024
#: Goals: the good client's p99 with slow ones, by that without; and the growth in MiB.
MOST_SLOWER, MOST_GROWTH = 2.0, 64

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
    ratio = statistics.median(among / alone for alone, among in rounds)
    growth = (most - before) / 1024
    rows = [[f"{alone * 1e3:.1f}", f"{among * 1e3:.1f}", f"{among / alone:.2f}"] for alone, among in rounds]
    goals = [
        goal(f"p99 at most {MOST_SLOWER:.0f} times that without slow clients (median of the rounds): {ratio:.2f}",
             ratio <= MOST_SLOWER),
        goal(f"at most {MOST_GROWTH} MiB more memory: {growth:.1f} MiB", growth <= MOST_GROWTH),
    ]
    return "\n\n".join([
        "## Slow clients",
        f"{RATE} reads of {SIZE // 1024} KiB a second from the CDN, timed from when they are due, without and "
        f"with {CONNECTIONS:,} slow connections: headers that drip, heads that stand still, bodies that drip. "
        f"Of those at least {fewest:,.0f} were open.",
        table(["p99 ms without", "p99 ms with", "ratio"], rows),
        "\n".join(goals),
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
