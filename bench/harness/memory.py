"""Memory: one large object, many readers at once, some of them slow."""

import hashlib
import os
import random
import shutil
import socket
import threading
import time

from dataclasses import dataclass

from . import machine
from .machine import LOAD_CORE, Unfit
from .outcome import Chart, Column, Judged, Outcome, Table
from .processes import memory_kib, stop
from .servers import Gateway, Seaweed, put, start_cdn

MIB = 1024 * 1024
FAST = 40
SLOW = 10

#: Of so many seconds each point of the picture is the highest.
STEP = 0.25

#: A slow reader takes so much, then pauses: 256 KiB/s.
SLOW_BYTES = 64 * 1024
SLOW_PAUSE = 0.25


@dataclass
class Seen:
    """What became of the readers of one source, and of the gateway's memory, in MiB."""

    before: float
    peak: float
    seconds: float
    complete: int
    slow_mib: float
    #: Pairs of a time and the resident memory then.
    samples: list

    def line(self):
        """The samples, fewer of them: [seconds, MiB]."""
        highest = {}
        for at, mib in self.samples:
            step = int(at / STEP)
            highest[step] = max(highest.get(step, 0), mib)
        return [[step * STEP, round(mib, 1)] for step, mib in highest.items()]


def run(binaries, work, options, say):
    machine.require_weed()
    content = work / "large"
    digest = _write(content, options.memory_mib)
    sources = {
        "CDN": _from_cdn(binaries["gateway"], work, content, digest, options, say),
        "storage (S3)": _from_storage(binaries["gateway"], work, content, digest, options, say),
    }
    table = Table("source", [
        Column("before MiB"),
        Column("peak MiB (VmHWM)"),
        Column("highest sample MiB"),
        Column("seconds"),
        Column("fast readers"),
        Column("MiB to slow readers"),
    ])
    for name, seen in sources.items():
        highest = max(mib for _, mib in seen.samples)
        complete = f"{seen.complete} of {FAST} complete"
        table.add(name, seen.before, seen.peak, highest, seen.seconds, complete, seen.slow_mib)
    lines = {name: seen.line() for name, seen in sources.items()}
    return Outcome("Memory", [
        f"{FAST} fast and {SLOW} slow readers of {options.memory_mib} MiB at the same time. Every fast reader "
        "got every byte (length checked; one of them by SHA-256), every slow reader's bytes were compared as "
        "they came.",
        table,
        Chart("Resident memory", "seconds", "MiB", lines, goal="memory.cdn"),
        Judged("memory.cdn", sources["CDN"].peak),
        Judged("memory.storage", sources["storage (S3)"].peak),
    ])


def _write(path, mib):
    """Pseudo-random bytes, no MiB of them like another, so that a misplaced one shows."""
    block = random.Random(1).randbytes(MIB - 8)
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for number in range(mib):
            piece = number.to_bytes(8, "big") + block
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def _from_cdn(binary, work, content, digest, options, say):
    say("memory: from the CDN")
    cdn = start_cdn(work)
    gateway = Gateway.start(binary, work, "memory cdn", cdn)
    key = gateway.presign("shop")["key"]
    os.link(content, work / "objects/images" / key)
    seen = _measure(gateway, gateway.path_of(key, "shop"), content, digest, options, say)
    if gateway.total("safelight_cdn_fallbacks_total"):
        raise Unfit("void: reads fell back to storage")
    stop(gateway.process)
    stop(cdn.process)
    return seen


def _from_storage(binary, work, content, digest, options, say):
    say("memory: from storage")
    seaweed = Seaweed.start(work, LOAD_CORE)
    gateway = Gateway.start(binary, work, "memory storage", s3_url=seaweed.url)
    seaweed.wait_for_buckets(gateway)
    grant = gateway.presign("plain")
    status = put(grant, lambda: open(content, "rb"), content.stat().st_size)
    if status != 200:
        raise Unfit(f"storage refuses the upload: {status}")
    path = gateway.path_of(grant["key"], "plain")
    seen = _measure(gateway, path, content, digest, options, say)
    stop(gateway.process)
    stop(seaweed.process)
    shutil.rmtree(work / "seaweed")
    return seen


def _measure(gateway, path, content, digest, options, say):
    size = content.stat().st_size
    before, _ = memory_kib(gateway.process)
    stop_slow = threading.Event()
    fast = [Fast(gateway.port, path, size, hashed=number == 0) for number in range(FAST)]
    slow = [Slow(gateway.port, path, content, stop_slow) for _ in range(SLOW)]
    samples, begun = [], time.monotonic()
    deadline = begun + options.memory_seconds
    for reader in [*slow, *fast]:
        reader.start()
    while any(reader.is_alive() for reader in fast) and time.monotonic() < deadline:
        samples.append((time.monotonic() - begun, memory_kib(gateway.process)[0] / 1024))
        time.sleep(0.1)
    took = time.monotonic() - begun
    stop_slow.set()
    for reader in slow:
        reader.join()
    finished = [reader for reader in fast if not reader.is_alive()]
    highest_ever = memory_kib(gateway.process)[1]
    _judge(fast, slow, finished, size, digest, gateway, took)
    read = sum(reader.received for reader in slow)
    say(f"  peak {highest_ever / 1024:.0f} MiB in {took:.0f} s")
    return Seen(before / 1024, highest_ever / 1024, took, len(finished), read / MIB, samples)


def _judge(fast, slow, finished, size, digest, gateway, took):
    for reader in [*fast, *slow]:
        if reader.error:
            raise Unfit(f"a reader failed after {reader.received} bytes: {reader.error}")
    if len(finished) < FAST:
        got = sum(reader.received for reader in fast) / (size * FAST)
        raise Unfit(
            f"only {len(finished)} of {FAST} fast readers were through after {took:.0f} s "
            f"({got:.0%} of the bytes): give more time with --memory-seconds"
        )
    if any(reader.received != size for reader in fast) or fast[0].digest != digest:
        raise Unfit("a fast reader got other bytes than were stored")
    if not all(reader.received for reader in slow):
        raise Unfit("a slow reader got nothing")
    if gateway.total("safelight_streams_aborted_total"):
        raise Unfit("void: bodies were broken off")


class Reader(threading.Thread):
    """Reads the object once, over a connection of its own."""

    def __init__(self, port, path):
        super().__init__(daemon=True)
        self.port, self.path = port, path
        self.received, self.error = 0, None

    def run(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
                target = f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
                connection.sendall(f"{target}Connection: close\r\n\r\n".encode())
                self.read(connection, self._first_bytes(connection))
        except (OSError, ValueError) as error:
            self.error = error

    def _first_bytes(self, connection):
        """Reads the head of the answer; what has come of the body with it."""
        seen = b""
        while b"\r\n\r\n" not in seen:
            piece = connection.recv(16 * 1024)
            if not piece:
                raise ValueError("the answer has no whole head")
            seen += piece
        head, _, body = seen.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ValueError(f"the answer is {head[:40]!r}")
        return body


class Fast(Reader):
    """As fast as the gateway gives."""

    def __init__(self, port, path, size, hashed):
        super().__init__(port, path)
        self.size, self.hashed, self.digest = size, hashed, None

    def read(self, connection, first):
        digest, buffer = hashlib.sha256(first), bytearray(MIB)
        # Whoever does not look at the bytes need not have them copied: the kernel drops them.
        flags = 0 if self.hashed else socket.MSG_TRUNC
        self.received = len(first)
        while length := connection.recv_into(buffer, MIB, flags):
            self.received += length
            if self.hashed:
                digest.update(memoryview(buffer)[:length])
        self.digest = digest.hexdigest() if self.hashed else None


class Slow(Reader):
    """Slower than anything else here, and it compares what comes."""

    def __init__(self, port, path, content, stopped):
        super().__init__(port, path)
        self.content, self.stopped = content, stopped

    def read(self, connection, first):
        with open(self.content, "rb") as content:
            piece = first
            while not self.stopped.wait(SLOW_PAUSE):
                if content.read(len(piece)) != piece:
                    raise ValueError("other bytes than were stored")
                self.received += len(piece)
                piece = connection.recv(SLOW_BYTES)
                if not piece:
                    raise ValueError("the body ended early")
