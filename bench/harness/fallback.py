"""Reads that the CDN does not have, from storage, beside nginx with `error_page`."""

import random

from .load import Subject, beside, measure, ratios
from .machine import LOAD_CORE, MEASURED_CORE, Unfit
from .outcome import Judged, Outcome
from .servers import Gateway, Nginx, request, start_cdn

SIZE = 50 * 1024

_READ = """
OriginShare = 0
HedgeAfter = "off"
"""


def run(binaries, work, options, say):
    empty, storage_folder = work / "empty", work / "storage"
    empty.mkdir()
    storage_folder.mkdir()
    cdn = start_cdn(empty)
    # It takes any signature, so that what is measured is the gateway and not a store.
    storage = start_cdn(storage_folder)
    peer = Nginx.start(
        "fallback.nginx.conf", MEASURED_CORE, work, CDN_PORT=cdn.port, STORAGE_PORT=storage.port
    )
    s3_url = f"http://127.0.0.1:{storage.port}"
    gateways = {
        f"gateway, {logging}": Gateway.start(
            binaries["gateway"], work, f"fallback {logging}", cdn, s3_url, logging, read=_READ
        )
        for logging in ("log to a file", "no access log")
    }
    key = gateways["gateway, log to a file"].presign()["key"]
    content = random.Random(SIZE).randbytes(SIZE)
    objects = storage_folder / "objects/media-shop/images"
    objects.mkdir(parents=True)
    (objects / key).write_bytes(content)
    nginx = "nginx error_page"
    subjects = [Subject(nginx, peer.process, peer.port, f"/images/{key}")]
    _check(peer.port, f"/images/{key}", content, "")
    for name, gateway in gateways.items():
        path = gateway.path_of(key)
        _check(gateway.port, path, content, 'detail="storage; cdn=status_404"')
        subjects.append(Subject(name, gateway.process, gateway.port, path))
    say("fallbacks of 50 KiB")
    runs = measure(subjects, options.rounds, options.seconds, say)
    for gateway in gateways.values():
        fell = gateway.total("safelight_cdn_fallbacks_total", 'reason="status_404"')
        # Clients that leave at the end of a run may do so before there is an answer.
        answered = gateway.total("safelight_reads_total", 'code="200"')
        if fell < answered:
            raise Unfit(f"void: {answered:.0f} reads, and {fell:.0f} of them fell back")
    return Outcome("Fallbacks", [
        "The CDN answers 404 to every read, storage has the object; both are nginx.",
        *beside("50 KiB", runs, nginx, "fallback.rate"),
        Judged("fallback.rate", ratios(runs["gateway, no access log"], runs[nginx])),
    ])


def _check(port, path, content, detail):
    status, headers, body = request(port, "GET", path)
    told = headers.get("Cache-Status", "")
    if status != 200 or body != content or detail not in told:
        raise Unfit(f"GET {path}: {status}, {len(body)} bytes, Cache-Status: {told}")
