"""Reads a second from memory, beside nginx and Varnish with a cache."""

from .caches import BARE, FLOOR, LIKE, NGINX, VARNISH, Caches
from .load import beside, measure, ratios
from .outcome import Judged, Outcome

_KIB = 1024

#: What is asked of an object of what size, by which header, and whose goals it is: beside nginx, and
#: beside Varnish where there is one.
_ASKED = [
    ("10 KiB", 10 * _KIB, "", "hits.10KiB", "hits.10KiB.varnish"),
    ("50 KiB", 50 * _KIB, "", "hits.50KiB", "hits.50KiB.varnish"),
    ("200 KiB", 200 * _KIB, "", "hits.200KiB", ""),
    ("304", 50 * _KIB, "If-None-Match: {etag}", "hits.304", ""),
    ("16 KiB of 50 KiB", 50 * _KIB, "Range: bytes=0-16383", "hits.range", ""),
]


def run(binaries, work, options, say):
    caches = Caches(binaries["gateway"], work)
    parts = [
        f"`{FLOOR}` gives the gateway's answers and does nothing else: what HTTP alone costs on the gateway's "
        "library. It has one thread, and takes no account of anything. "
        f"`{BARE}` does not even read what is asked: what an answer costs the kernel, "
        "and how much of it the load's core can take. No gateway can do with less."
    ]
    for name, size, header, goal, of_varnish in _ASKED:
        say(f"hits: {name}")
        runs = measure(caches.subjects(size, header), options.rounds, options.seconds, say)
        parts += [*beside(name, runs, NGINX, goal, [VARNISH]), Judged(goal, ratios(runs[LIKE], runs[NGINX]))]
        if of_varnish:
            parts.append(Judged(of_varnish, ratios(runs[LIKE], runs[VARNISH])))
    return Outcome("Reads from memory", parts)
