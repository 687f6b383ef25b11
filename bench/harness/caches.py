"""Those who answer reads from memory: the gateway, nginx and Varnish before the same CDN, and the floors."""

import random

from dataclasses import dataclass

from .load import CLIENTS, Subject
from .machine import MEASURED_CORE, Unfit
from .peers import answer_of, start_answerer, start_floor, start_varnish
from .processes import stop
from .servers import Gateway, Nginx, request, start_cdn

NGINX, VARNISH = "nginx proxy_cache", "Varnish"
#: What HTTP costs on the gateway's library, and what an answer costs without any.
FLOOR, BARE = "floor: hyper, ready-made answers", "floor: one ready-made answer, no HTTP"
#: The gateway as it comes, and as the others are: without a line in the log for each request.
LOGGED, LIKE = "gateway, log to a file", "gateway, no access log"

_READ = """
MemoryCacheMaxObject = "256KiB"
OriginShare = 0
HedgeAfter = "off"
"""

#: By which name `floor.rs` has the answer to a read with that header.
_KINDS = {"": "whole", "If-None-Match": "unmodified", "Range": "range"}


@dataclass
class Cache:
    """One of them: where it has an object, and how it tells that it had it in memory."""

    name: str
    server: object
    told: tuple
    path_of: object


class Caches:
    def __init__(self, binary, work):
        self.work, self.cdn = work, start_cdn(work)
        nginx = Nginx.start("cache.nginx.conf", MEASURED_CORE, work, CDN_PORT=self.cdn.port)
        varnish = start_varnish(work, self.cdn)
        self.gateways = {
            name: Gateway.start(
                binary, work, f"hits {name}", self.cdn, logging=name.partition(", ")[2], read=_READ
            )
            for name in (LOGGED, LIKE)
        }
        told = ("X-Cache", "HIT")
        self.all = [Cache(name, one, told, "/images/{}".format) for name, one in ((NGINX, nginx), (VARNISH, varnish))]
        told = ("Cache-Status", "safelight; hit")
        self.all += [Cache(name, one, told, one.path_of) for name, one in self.gateways.items()]
        self.floors = []

    def publish(self, size):
        """A new object of so many bytes; its key and content."""
        key = self.gateways[LOGGED].presign()["key"]
        content = random.Random(key).randbytes(size)
        (self.work / "objects/images" / key).write_bytes(content)
        return key, content

    def subjects(self, size, header="", clients=CLIENTS):
        """All of them with a new object in memory, asked for it with this header."""
        key, content = self.publish(size)
        subjects = []
        for cache in self.all:
            path = cache.path_of(key)
            etag = warm(cache.server.port, path, content, *cache.told)
            mine = header.format(etag=etag)
            subjects.append(
                Subject(cache.name, cache.server.process, cache.server.port, path, clients=clients, header=mine)
            )
            _is_answered(subjects[-1], content)
        return [*subjects, *self._floors(subjects[-1], clients, content)]

    def _floors(self, like, clients, content):
        """The floors, with the answer of this subject."""
        for floor in self.floors:
            stop(floor.process)
        kind = _KINDS[like.header.partition(": ")[0]]
        answer = answer_of(like.port, "GET", like.path, headers=_headers(like))
        name = like.path.rpartition("/")[2]
        self.floors = [
            start_floor(self.work, f"floor-{name}", {kind: answer}),
            start_answerer(self.work, f"answerer-{name}", answer),
        ]
        subjects = [
            Subject(called, floor.process, floor.port, like.path, clients=clients, header=like.header)
            for called, floor in zip((FLOOR, BARE), self.floors)
        ]
        for subject in subjects:
            _is_answered(subject, content)
        return subjects


def warm(port, path, content, header, hit):
    """Reads until the answer is a hit, which the second one should be; its entity tag."""
    for _ in range(3):
        status, headers, body = request(port, "GET", path)
        if status != 200 or body != content:
            raise Unfit(f"GET {path}: {status}, {len(body)} bytes")
    if headers.get(header) != hit:
        raise Unfit(f"GET {path} is no hit: {header}: {headers.get(header)}")
    return headers["ETag"]


def _headers(subject):
    name, _, value = subject.header.partition(": ")
    return {name: value} if name else {}


def _is_answered(subject, content):
    """With what the header asks for."""
    status, _, body = request(subject.port, "GET", subject.path, headers=_headers(subject))
    expected = {"": (200, content), "If-None-Match": (304, b""), "Range": (206, content[:16384])}
    if (status, body) != expected[subject.header.partition(": ")[0]]:
        raise Unfit(f"{subject.name}: GET {subject.path} with {subject.header}: {status}, {len(body)} bytes")
