"""Reads a second from the CDN, beside nginx as a plain proxy."""

import random

from .load import CLIENTS, Subject, beside, measure, ratios
from .machine import Unfit
from .outcome import Judged, Outcome
from .servers import LOGGING, Gateway, request, start_cdn, start_peer

#: Proxying is compared, not what goes to storage beside it.
_READ = """
OriginShare = 0
HedgeAfter = "off"
"""

#: How many read large bodies at once: each is to come to its end within a run.
FEW = 8

SIZES = {"50 KiB": 50 * 1024, "1 MiB": 1024 * 1024, "64 MiB": 64 * 1024 * 1024}


def run(binaries, work, options, say):
    cdn = start_cdn(work)
    peer = start_peer(work, cdn)
    gateways = {
        f"{label}, {logging}": Gateway.start(
            binary, work, f"proxy {label} {logging}", cdn, logging=logging, read=_READ
        )
        for label, binary in binaries.items()
        for logging in (LOGGING if label == "gateway" else ["log to a file"])
    }
    main = gateways["gateway, log to a file"]
    parts = []
    for size_name, size in SIZES.items():
        say(f"reads of {size_name}")
        key = main.presign()["key"]
        content = random.Random(size).randbytes(size)
        (work / "objects/images" / key).write_bytes(content)
        path = main.path_of(key)
        nginx = "nginx proxy_pass"
        clients = CLIENTS if size < 1 << 24 else FEW
        subjects = [Subject(nginx, peer.process, peer.port, f"/images/{key}", clients=clients)]
        for name, gateway in gateways.items():
            _check(gateway.port, path, content, gateway=True)
            subjects.append(Subject(name, gateway.process, gateway.port, path, clients=clients))
        _check(peer.port, f"/images/{key}", content, gateway=False)
        runs = measure(subjects, options.rounds, options.seconds, say)
        for gateway in gateways.values():
            _no_fallback(gateway)
        goal = f"proxy.{size_name.replace(' ', '')}"
        like, other = runs["gateway, no access log"], runs[nginx]
        parts += [
            *beside(size_name, runs, nginx, f"{goal}.rate"),
            Judged(f"{goal}.rate", ratios(like, other)),
            Judged(f"{goal}.cpu", ratios(like, other, "cpu_per_gb")),
        ]
    return Outcome("Reads from the CDN", parts)


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
