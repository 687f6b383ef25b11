"""Processes that are pinned, watched, and ended with the benchmark, however it ends."""

import http.client
import os
import re
import signal
import socket
import subprocess
import time

from pathlib import Path

from .machine import Unfit

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
_started = []


def start(command, core, log, environment=None):
    """Starts a program on one core, its output appended to `log`."""
    with open(log, "ab") as output:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(os.environ, **(environment or {})),
            start_new_session=True,
        )
    _started.append(process)
    return process


def stop(process, patience=10):
    """Ends one process that was started here, by its id."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process in _started:
        _started.remove(process)


def stop_all():
    for process in reversed(_started):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    for process in list(_started):
        stop(process)


def free_ports(count, offset=0):
    """Ports that nobody listens on; with an offset, also each port plus the offset."""
    held, ports = [], []
    while len(ports) < count:
        sockets = [socket.socket() for _ in range(2 if offset else 1)]
        held += sockets
        sockets[0].bind(("127.0.0.1", 0))
        port = sockets[0].getsockname()[1]
        try:
            if offset:
                sockets[1].bind(("127.0.0.1", port + offset))
        except (OSError, OverflowError):
            continue
        ports.append(port)
    for one in held:
        one.close()
    return ports


def wait_for(ready, process, what, log, seconds=30):
    """Asks again and again: none of these programs tells when it is ready."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if ready():
                return
        except (OSError, http.client.HTTPException):
            pass
        if process.poll() is not None:
            break
        time.sleep(0.05)
    tail = Path(log).read_text(errors="replace").splitlines()[-10:]
    raise Unfit("\n".join([f"{what} does not start:", *tail]))


def listens(port):
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


def cpu_seconds(process):
    """The CPU time of a process and of its children that live, in seconds."""
    return sum(_own_cpu_seconds(pid) for pid in _family(process.pid))


def memory_kib(process):
    """Resident memory now and at its highest, in KiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return tuple(int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) for field in ("VmRSS", "VmHWM"))


def resident_kib(process):
    """Resident memory of a process and of its children that live, in KiB. What they share counts for each."""
    fields = (Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in _family(process.pid))
    return sum(int(pages) for pages in fields) * _PAGE_KIB


def idle_seconds(core):
    """How long a core has been idle, in seconds."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            return (int(fields[3]) + int(fields[4])) / _CLOCK_TICKS
    raise Unfit(f"there is no core {core}")


def _family(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(member for child in children for member in _family(int(child)))]


def _own_cpu_seconds(pid):
    # The name, in parentheses, may hold anything; what follows is fixed (proc(5): utime, stime).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS
