"""Memory by the number of connections: idle ones, and readers that stand still in a large body."""

import random
import resource
import socket
import time

from .machine import Unfit
from .processes import memory_kib, stop
from .report import table
from .servers import Gateway, start_cdn

CONNECTIONS = 1000
MIB = 1024 * 1024

#: The goals, in KiB for each connection.
IDLE_GOAL, STALLED_GOAL = 12, 100

_READ = """
OriginShare = 0
HedgeAfter = "off"
"""


def run(binaries, work, options, say):
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    cdn = start_cdn(work)
    rows = []
    goals = {
        "idle, after a read of 10 KiB each": (10 * 1024, _idle, IDLE_GOAL),
        "stalled in a body of 64 MiB": (64 * MIB, _stalled, STALLED_GOAL),
    }
    for name, (size, open_one, goal) in goals.items():
        say(f"connections: {name}")
        gateway = Gateway.start(binaries["gateway"], work, f"connections {goal}", cdn, read=_READ)
        key = gateway.presign()["key"]
        (work / "objects/images" / key).write_bytes(random.Random(1).randbytes(size))
        # What the first requests leave behind is not that of connections.
        warm = [open_one(gateway, key) for _ in range(20)]
        before = memory_kib(gateway.process)[0]
        held = [open_one(gateway, key) for _ in range(CONNECTIONS)]
        after = _settled(gateway.process)
        each = (after - before) / CONNECTIONS
        met = "met" if each <= goal else "**not met**"
        rows.append([name, f"{before / 1024:,.1f}", f"{after / 1024:,.1f}", f"{each:.1f}", f"{goal}: {met}"])
        for connection in warm + held:
            connection.close()
        stop(gateway.process)
    heads = [f"{CONNECTIONS:,} connections", "before MiB", "with them MiB", "KiB each", "goal KiB"]
    return "\n\n".join(["## Connections", table(heads, rows)])


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
