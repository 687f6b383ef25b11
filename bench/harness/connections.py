"""Memory by the number of connections: idle ones, and readers that stand still in a large body."""

import random
import resource
import socket
import time

from .machine import Unfit
from .outcome import Column, Judged, Outcome, Table
from .processes import memory_kib, stop
from .servers import Gateway, start_cdn

CONNECTIONS = 1000
MIB = 1024 * 1024

_READ = """
OriginShare = 0
HedgeAfter = "off"
"""


def run(binaries, work, options, say):
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    cdn = start_cdn(work)
    table = Table(f"{CONNECTIONS:,} connections", [
        Column("before MiB", digits=1),
        Column("with them MiB", digits=1),
        Column("KiB each", digits=1, drawn=True),
    ])
    judged = []
    for name, size, open_one, goal in (
        ("idle, after a read of 10 KiB each", 10 * 1024, _idle, "connections.idle"),
        ("stalled in a body of 64 MiB", 64 * MIB, _stalled, "connections.stalled"),
    ):
        say(f"connections: {name}")
        gateway = Gateway.start(binaries["gateway"], work, goal, cdn, read=_READ)
        key = gateway.presign()["key"]
        (work / "objects/images" / key).write_bytes(random.Random(1).randbytes(size))
        # What the first requests leave behind is not that of connections.
        warm = [open_one(gateway, key) for _ in range(20)]
        before = memory_kib(gateway.process)[0]
        held = [open_one(gateway, key) for _ in range(CONNECTIONS)]
        after = _settled(gateway.process)
        each = (after - before) / CONNECTIONS
        table.add(name, before / 1024, after / 1024, each, goal=goal)
        judged.append(Judged(goal, each))
        for connection in warm + held:
            connection.close()
        stop(gateway.process)
    return Outcome("Connections", [table, *judged])


def _connect(gateway, key):
    connection = socket.create_connection(("127.0.0.1", gateway.port))
    path = gateway.path_of(key)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return connection


def _idle(gateway, key):
    connection = _connect(gateway, key)
    reader = connection.makefile("rb")
    length = 0
    while (line := reader.readline()) not in (b"\r\n", b""):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    if length == 0 or len(reader.read(length)) != length:
        raise Unfit("a read gave no body")
    reader.detach()
    return connection


def _stalled(gateway, key):
    connection = socket.socket()
    # The system's own buffers are not the gateway's: small here, they fill at once.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    connection.connect(("127.0.0.1", gateway.port))
    connection.sendall(
        f"GET {gateway.path_of(key)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    )
    if not connection.recv(1024):
        raise Unfit("a read gave no head")
    return connection


def _settled(process):
    """The memory, once it has stopped growing."""
    last = memory_kib(process)[0]
    for _ in range(40):
        time.sleep(0.25)
        now = memory_kib(process)[0]
        if abs(now - last) < 64:
            return now
        last = now
    return last
