"""Reads a second from the CDN, beside nginx as a plain proxy."""

import random

from .goals import GOALS
from .load import CLIENTS, Subject, beside, measure, ratios
from .machine import Unfit
from .outcome import Judged, Outcome
from .peers import start_relay
from .servers import LOGGING, Gateway, request, start_cdn, start_peer

#: Proxying is compared, not what goes to storage beside it; and the CDN, which shares its core with the load,
#: is waited for as nginx waits.
_READ = """
OriginShare = 0
HedgeAfter = "off"
ConnectTimeout = "60s"
FirstByteTimeout = "60s"
StallTimeout = "60s"
"""

#: The least that passing bytes on costs: see `relay.rs`.
_FLOOR = "floor: bytes passed on"

#: How many read large bodies at once: each is to come to its end within a run.
FEW = 8

SIZES = {"10 KiB": 10 * 1024, "50 KiB": 50 * 1024, "1 MiB": 1024 * 1024, "64 MiB": 64 * 1024 * 1024}


def run(binaries, work, options, say):
    cdn = start_cdn(work)
    nginx, relay = start_peer(work, cdn), start_relay(work, cdn)
    gateways = start_gateways(binaries, work, cdn)
    parts = []
    for size_name, size in SIZES.items():
        runs = compare(size_name, size, nginx, "nginx proxy_pass", gateways, work, options, say, relay)
        parts += _judged(size_name, runs, "nginx proxy_pass", f"proxy.{size_name.replace(' ', '')}")
    return Outcome("Reads from the CDN", parts)


def start_gateways(binaries, work, cdn, environment=None):
    """Gateways before this CDN, by name."""
    return {
        f"{label}, {logging}": Gateway.start(
            binary, work, f"proxy {label} {logging}", cdn, logging=logging, read=_READ, environment=environment
        )
        for label, binary in binaries.items()
        for logging in (LOGGING if label == "gateway" else ["log to a file"])
    }


def compare(size_name, size, nginx, nginx_name, gateways, work, options, say, relay=None):
    """The runs with a new object of this size, read through nginx, the gateways and, if there is one, the
    relay."""
    say(f"reads of {size_name}")
    main = gateways["gateway, log to a file"]
    key = main.presign()["key"]
    content = random.Random(size).randbytes(size)
    (work / "objects/images" / key).write_bytes(content)
    path = main.path_of(key)
    clients = CLIENTS if size < 1 << 24 else FEW
    subjects = [Subject(nginx_name, nginx.process, nginx.port, f"/images/{key}", clients=clients)]
    for name, gateway in gateways.items():
        _check(gateway.port, path, content, gateway=True)
        subjects.append(Subject(name, gateway.process, gateway.port, path, clients=clients))
    _check(nginx.port, f"/images/{key}", content, gateway=False)
    if relay:
        _check(relay.port, f"/images/{key}", content, gateway=False)
        subjects.append(Subject(_FLOOR, relay.process, relay.port, f"/images/{key}", clients=clients))
    runs = measure(subjects, options.rounds, options.seconds, say)
    for gateway in gateways.values():
        _no_fallback(gateway)
    return runs


def _judged(size_name, runs, nginx, goal):
    if f"{goal}.rate" not in GOALS:
        return beside(size_name, runs, nginx)
    like, other = runs["gateway, no access log"], runs[nginx]
    return [
        *beside(size_name, runs, nginx, f"{goal}.rate"),
        Judged(f"{goal}.rate", ratios(like, other)),
        Judged(f"{goal}.cpu", ratios(like, other, "cpu_per_gb")),
    ]


def _check(port, path, content, gateway):
    status, headers, body = request(port, "GET", path)
    cache_status = headers.get("Cache-Status", "")
    if status != 200 or body != content or (gateway and "detail=cdn" not in cache_status):
        raise Unfit(f"GET {path}: {status}, {len(body)} bytes, Cache-Status: {cache_status}")


def _no_fallback(gateway):
    fell = gateway.total("safelight_cdn_fallbacks_total")
    failed = gateway.total("safelight_cdn_requests_total") - gateway.total(
        "safelight_cdn_requests_total", 'outcome="ok"'
    )
    if fell or failed:
        raise Unfit(f"void: {fell:.0f} fallbacks and {failed:.0f} failures of the CDN")
