"""Memory by the number of connections, beside nginx: idle ones, busy ones, and readers that stand still in a
large body."""

import random
import resource
import socket
import threading
import time

from dataclasses import dataclass

from .load import Subject, measure
from .machine import Unfit
from .outcome import Column, Judged, Outcome, Table
from .processes import resident_kib, stop
from .servers import LARGE_BUFFERS, OWN_BUFFERS, Gateway, start_cdn, start_peer

CONNECTIONS = 1000

# How many idle ones come a second, and for how long at least they are before the memory is looked at. Idle
# connections come over time, and not all in a fifth of a second: what those cost that are still awake, and so
# what the allocator keeps for the next ones, is that of one second's.
ARRIVALS = 100
LULL_SECONDS = 2

KIB, MIB = 1024, 1024 * 1024

_READ = """
OriginShare = 0
HedgeAfter = "off"
"""


@dataclass
class Server:
    """What is measured, and where it has the object."""

    name: str
    process: object
    port: int
    path: str


def run(binaries, work, options, say):
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    cdn = start_cdn(work)
    parts = []
    for name, size, hold, goal in (
        ("idle, after a read of 10 KiB each", 10 * KIB, _idle, "connections.idle"),
        ("stalled in a body of 64 MiB", 64 * MIB, _stalled, "connections.stalled"),
        ("that read 10 KiB again and again", 10 * KIB, None, ""),
    ):
        table = Table(f"{CONNECTIONS:,} connections {name}", [
            Column("before MiB", digits=1),
            Column("with them MiB", digits=1),
            Column("KiB each", digits=1, drawn=True, goal=goal),
        ])
        folder = work / f"with-{len(parts)}"
        folder.mkdir()
        for place, server in enumerate(_servers(binaries["gateway"], folder, cdn, size)):
            say(f"connections {name}: {server.name}")
            before, after = _held(server, hold) if hold else _busy(server, options.seconds, say)
            each = (after - before) / CONNECTIONS
            table.add(server.name, before / KIB, after / KIB, each)
            if goal and place == 0:
                judged = Judged(goal, each)
            stop(server.process)
        parts += [table, judged] if goal else [table]
    return Outcome("Connections", parts)


def _servers(binary, folder, cdn, size):
    """Each with the same object, new, one after the other: the gateway first."""
    gateway = Gateway.start(binary, folder, "gateway", cdn, read=_READ)
    key = gateway.presign()["key"]
    (folder.parent / "objects/images" / key).write_bytes(random.Random(1).randbytes(size))
    yield Server("gateway", gateway.process, gateway.port, gateway.path_of(key))
    for label, buffers in (("16 buffers of 64 KiB", LARGE_BUFFERS), ("8 buffers of 4 KiB, as it comes", OWN_BUFFERS)):
        own = folder / label.partition(" ")[0]
        own.mkdir()
        nginx = start_peer(own, cdn, buffers)
        yield Server(f"nginx, {label}", nginx.process, nginx.port, f"/images/{key}")


def _held(server, hold):
    """The memory without and with connections that are held, in KiB."""
    arrivals, lull = (ARRIVALS, LULL_SECONDS) if hold is _idle else (float("inf"), 0)
    # What the first requests leave behind is not that of connections.
    warm = [hold(server) for _ in range(20)]
    time.sleep(lull)
    before = resident_kib(server.process)
    held, begun = [], time.monotonic()
    for arrival in range(CONNECTIONS):
        time.sleep(max(0, begun + arrival / arrivals - time.monotonic()))
        held.append(hold(server))
    time.sleep(lull)
    after = _settled(server.process)
    for connection in warm + held:
        connection.close()
    return before, after


def _busy(server, seconds, say):
    """The memory before and, at its highest, while connections read without a pause, in KiB."""
    for _ in range(20):
        _idle(server).close()
    before, seen, is_over = resident_kib(server.process), [], threading.Event()

    def watch():
        while not is_over.wait(0.05):
            seen.append(resident_kib(server.process))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        subject = Subject(server.name, server.process, server.port, server.path, clients=CONNECTIONS)
        measure([subject], 1, seconds, say)
    finally:
        is_over.set()
        watching.join()
    return before, max(seen)


def _ask(connection, server):
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(f"GET {server.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())


def _idle(server):
    connection = socket.socket()
    _ask(connection, server)
    reader = connection.makefile("rb")
    length = 0
    while (line := reader.readline()) not in (b"\r\n", b""):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    if length == 0 or len(reader.read(length)) != length:
        raise Unfit("a read gave no body")
    reader.detach()
    return connection


def _stalled(server):
    connection = socket.socket()
    # The system's own buffers are not the gateway's: small here, they fill at once.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    _ask(connection, server)
    if not connection.recv(1024):
        raise Unfit("a read gave no head")
    return connection


def _settled(process):
    """The memory, once it has stopped growing."""
    last = resident_kib(process)
    for _ in range(40):
        time.sleep(0.25)
        now = resident_kib(process)
        if abs(now - last) < 64:
            return now
        last = now
    return last
