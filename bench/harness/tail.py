"""How long small answers take when many ask at once without a pause."""

from .caches import LOGGED, NGINX, Caches
from .load import beside, measure, spread
from .outcome import Judged, Outcome

CLIENTS = 512

#: What is asked for, of which size, and by which header. The goal is that of the second.
_ASKED = [
    ("304", 10 * 1024, "If-None-Match: {etag}"),
    ("10 KiB", 10 * 1024, ""),
]


def run(binaries, work, options, say):
    caches = Caches(binaries["gateway"], work)
    parts = [
        f"{CLIENTS} keep-alive clients that never pause read one object from memory: p99 is how long all of them "
        "take, and what is unfair in the order in which they are served."
    ]
    for name, size, header in _ASKED:
        say(f"tail: {name}")
        subjects = caches.subjects(size, header, CLIENTS)
        runs = measure(subjects, options.rounds, options.seconds, say)
        parts += beside(name, runs, NGINX, p99_goal="tail.p99")
    parts.append(Judged("tail.p99", spread(runs[LOGGED], "p99_ms")))
    return Outcome("Tail", parts)
