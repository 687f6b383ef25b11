"""Reads one by one, each with its fate: for what is about single reads and not about rates."""

import asyncio
import contextlib
import gc
import math
import os
import random
import time

from dataclasses import dataclass

from .machine import LOAD_CORE, MEASURED_CORE, Unfit
from .processes import idle_seconds
from .servers import put

#: After this a read is lost.
PATIENCE = 30


@dataclass
class Read:
    """What became of one read."""

    #: When it was due, in seconds since the load began.
    due: float
    #: From then until its last byte, in seconds: a client that had to wait for the load to get
    #: round to it has waited as well.
    took: float
    status: int = 0
    #: `Cache-Status`.
    told: str = ""
    #: As many bytes as were promised.
    whole: bool = False
    body: bytes = b""

    @property
    def from_cdn(self):
        return self.told.endswith("detail=cdn")


class Cores:
    """How busy the two cores were meanwhile."""

    def __init__(self):
        self.begun = time.monotonic()
        self.idle = [idle_seconds(core) for core in (MEASURED_CORE, LOAD_CORE)]
        self.busy = None

    def end(self):
        took = time.monotonic() - self.begun
        now = [idle_seconds(core) for core in (MEASURED_CORE, LOAD_CORE)]
        self.busy = [max(0.0, 1 - (after - before) / took) for before, after in zip(self.idle, now)]

    def __str__(self):
        measured, load = self.busy
        return (
            f"The core of the gateway was busy for {measured:.0%} of that time, and that of load, CDN "
            f"and storage for {load:.0%}, with whatever else ran there."
        )


@contextlib.contextmanager
def on_load_core():
    """This process makes the load: on its core, and without pauses for garbage."""
    gc.collect()
    gc.disable()
    os.sched_setaffinity(0, {LOAD_CORE})
    cores = Cores()
    try:
        yield cores
    finally:
        cores.end()
        os.sched_setaffinity(0, {MEASURED_CORE, LOAD_CORE})
        gc.enable()


class Client:
    """Keep-alive connections to one gateway, as many as it takes."""

    def __init__(self, port):
        self.port, self.idle = port, []

    async def read(self, path, due=0.0, began=None):
        began = time.monotonic() if began is None else began
        read = Read(due, 0.0)
        try:
            await asyncio.wait_for(self._read(path, read), PATIENCE)
        except (OSError, ValueError, EOFError, asyncio.TimeoutError):
            pass
        read.took = time.monotonic() - began
        return read

    async def _read(self, path, read):
        while self.idle:
            connection = self.idle.pop()
            if connection[0].at_eof():
                connection[1].transport.abort()
                continue
            try:
                return await self._read_on(connection, path, read)
            except (OSError, EOFError):
                # As every client has it: idle connections may end at any time, also now.
                if read.status:
                    raise
        await self._read_on(await self._connect(), path, read)

    async def _read_on(self, connection, path, read):
        reader, writer = connection
        keep = False
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n\r\n".encode())
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            read.status = int(lines[0].split(" ", 2)[1])
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
            }
            read.told = headers.get("cache-status", "")
            try:
                read.body = await reader.readexactly(int(headers["content-length"]))
            except asyncio.IncompleteReadError as error:
                read.body = error.partial
                raise
            keep = read.whole = True
            keep = headers.get("connection") != "close"
        finally:
            if keep:
                self.idle.append(connection)
            else:
                writer.transport.abort()

    async def _connect(self):
        return await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)

    def close(self):
        for _, writer in self.idle:
            writer.transport.abort()
        self.idle.clear()


async def at_rate(port, paths, rate, seconds, events=()):
    """So many reads a second, whether those before are answered or not. `events` are pairs of a
    time and a coroutine function. Gives the reads in their order, and when each event was done."""
    client, picks = Client(port), random.Random(1)
    begun = time.monotonic()
    done = []

    async def happen():
        for at, event in events:
            await asyncio.sleep(begun + at - time.monotonic())
            await event()
            done.append(time.monotonic() - begun)

    happening = asyncio.create_task(happen())
    tasks = []
    for number in range(int(rate * seconds)):
        due = number / rate
        await asyncio.sleep(max(0.0, begun + due - time.monotonic()))
        path = picks.choice(paths)
        tasks.append((path, asyncio.create_task(client.read(path, due, begun + due))))
    reads = [(path, await task) for path, task in tasks]
    await happening
    client.close()
    return reads, done


async def one_after_another(port, paths, workers, each):
    """Every path once, by so many readers at once; `each` judges it, and its bytes are forgotten."""
    client, left = Client(port), iter(paths)

    async def work():
        for path in left:
            each(path, await client.read(path))

    await asyncio.gather(*(work() for _ in range(workers)))
    client.close()


def publish(gateway, app, contents):
    """Uploads these; their keys."""
    return [upload(gateway.presign(app), content)["key"] for content in contents]


def upload(grant, content):
    status = put(grant, lambda: _Content(content), len(content))
    if status != 200:
        raise Unfit(f"storage refuses an upload: {status}")
    return grant


class _Content:
    """Bytes, as `put` opens them."""

    def __init__(self, content):
        self.content = content

    def __enter__(self):
        return self.content

    def __exit__(self, *_):
        pass


def percentile(values, share):
    """By nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


#: The places of a chart of latencies, and their shares.
TAIL = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "worst": 1.0}


def tail(reads):
    """The latencies of these reads in ms, at the places of `TAIL`."""
    times = [read.took * 1e3 for read in reads]
    return [[place, percentile(times, share)] for place, share in enumerate(TAIL.values())]
