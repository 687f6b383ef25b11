"""Reads a second from memory, beside nginx with a cache."""

import random

from .load import Subject, beside, measure, ratios
from .machine import MEASURED_CORE, Unfit
from .outcome import Judged, Outcome
from .servers import Gateway, Nginx, request, start_cdn

SIZES = {"10 KiB": 10 * 1024, "50 KiB": 50 * 1024, "200 KiB": 200 * 1024}

#: What else is asked of memory, by which header, and whose goal it is.
_ASKED = [
    ("304", "If-None-Match: {etag}", "hits.304"),
    ("16 KiB of 50 KiB", "Range: bytes=0-16383", "hits.range"),
]

_NGINX = "nginx proxy_cache"

_READ = """
MemoryCacheMaxObject = "256KiB"
OriginShare = 0
HedgeAfter = "off"
"""


def run(binaries, work, options, say):
    cdn = start_cdn(work)
    peer = Nginx.start("cache.nginx.conf", MEASURED_CORE, work, CDN_PORT=cdn.port)
    gateways = {}
    for logging in ("log to a file", "no access log"):
        name = f"gateway, {logging}"
        folder = f"hits {logging}"
        gateways[name] = Gateway.start(
            binaries["gateway"], work, folder, cdn, logging=logging, read=_READ
        )
    main = gateways["gateway, log to a file"]
    parts = []
    for size_name, size in SIZES.items():
        say(f"hits of {size_name}")
        key = main.presign()["key"]
        content = random.Random(size).randbytes(size)
        (work / "objects/images" / key).write_bytes(content)
        _warm(peer.port, f"/images/{key}", content, "X-Cache", "HIT")
        subjects = [Subject(_NGINX, peer.process, peer.port, f"/images/{key}")]
        path = main.path_of(key)
        for name, gateway in gateways.items():
            _warm(gateway.port, path, content, "Cache-Status", "safelight; hit")
            subjects.append(Subject(name, gateway.process, gateway.port, path))
        runs = measure(subjects, options.rounds, options.seconds, say)
        parts += _judged(size_name, runs, f"hits.{size_name.replace(' ', '')}")
    for name, header, goal in _ASKED:
        parts += _asked(name, header, goal, gateways, peer, work, options, say)
    return Outcome("Reads from memory", parts)


def _judged(head, runs, goal):
    like = runs["gateway, no access log"]
    return [*beside(head, runs, _NGINX, goal), Judged(goal, ratios(like, runs[_NGINX]))]


def _asked(name, header, goal, gateways, peer, work, options, say):
    """The same with a header, of an object of 50 KiB."""
    say(f"hits: {name}")
    key = gateways["gateway, log to a file"].presign()["key"]
    content = random.Random(name).randbytes(50 * 1024)
    (work / "objects/images" / key).write_bytes(content)
    subjects = []
    for subject, process, port, path, told in [
        (_NGINX, peer.process, peer.port, f"/images/{key}", ("X-Cache", "HIT")),
        *(
            (n, g.process, g.port, g.path_of(key), ("Cache-Status", "safelight; hit"))
            for n, g in gateways.items()
        ),
    ]:
        etag = _warm(port, path, content, *told)
        subjects.append(Subject(subject, process, port, path, header=header.format(etag=etag)))
        _answers(subjects[-1], 304 if "None-Match" in header else 206)
    runs = measure(subjects, options.rounds, options.seconds, say)
    return _judged(name, runs, goal)


def _answers(subject, expected):
    name, _, value = subject.header.partition(": ")
    status, _, _ = request(subject.port, "GET", subject.path, headers={name: value})
    if status != expected:
        raise Unfit(f"GET {subject.path} with {subject.header}: {status}")


def _warm(port, path, content, header, hit):
    """Reads until the answer is a hit, which the second one should be."""
    for _ in range(3):
        status, headers, body = request(port, "GET", path)
        if status != 200 or body != content:
            raise Unfit(f"GET {path}: {status}, {len(body)} bytes")
    if headers.get(header) != hit:
        raise Unfit(f"GET {path} is no hit: {header}: {headers.get(header)}")
    return headers["ETag"]
