"""How long a call takes, as the other measurements of signing have it."""

import statistics
import time

_BATCH = 10


def median(call, seconds):
    """Of batches, for so long, after as long to get warm: microseconds for each call."""
    _batches(call, seconds)
    return statistics.median(_batches(call, seconds))


def _batches(call, seconds):
    took, end = [], time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        for _ in range(_BATCH):
            call()
        took.append((time.perf_counter() - begun) * 1e6 / _BATCH)
    return took
