"""All goals of the benchmark, in the order in which RESULTS.md lists them. Nowhere else is a number wanted."""

from dataclasses import dataclass

AT_LEAST, AT_MOST, UNDER = "at least", "at most", "under"
_SIGNS = {AT_LEAST: "≥", AT_MOST: "≤", UNDER: "<"}


@dataclass(frozen=True)
class Goal:
    #: The section that measures it.
    section: str
    text: str
    bound: str
    wanted: float
    #: "×" for a ratio, "%" for a share (0.9 is 90 %), "" for a count.
    unit: str = ""

    def is_met(self, measured):
        """Whether this number is good enough, or the median of a spread."""
        value = measured["median"] if isinstance(measured, dict) else measured
        if self.bound == AT_LEAST:
            return value >= self.wanted
        return value <= self.wanted if self.bound == AT_MOST else value < self.wanted

    def wants(self):
        """As text: "≥ 1.6 ×"."""
        if self.bound == AT_MOST and self.wanted == 0:
            return "none"
        if self.unit == "%" and self.wanted == 1:
            return "all"
        return f"{_SIGNS[self.bound]} {figure(self.wanted, self.unit)}"


def figure(measured, unit):
    """A number or a spread with its unit, in about three digits."""
    if isinstance(measured, dict):
        numbers = [_number(measured[which], unit) for which in ("median", "lowest", "highest")]
        text = "{} ({}–{})".format(*numbers)
    else:
        text = _number(measured, unit)
    return f"{text} {unit}".strip()


def _number(value, unit):
    if unit == "%":
        value *= 100
    if abs(value) >= 100 or float(value).is_integer():
        return f"{value:,.0f}"
    # Of nearly all it matters what is missing.
    return f"{value:.{4 if unit == '%' and value > 99 else 3}g}"


#: What the gateway is compared with, in the same round, has `×`.
GOALS = {
    "presign.companion": Goal("presign", "upload requests with a durable record, beside Uppy Companion", AT_LEAST, 100, "×"),
    "presign.node": Goal("presign", "upload requests with a durable record, beside a Node presigner", AT_LEAST, 30, "×"),
    "presign.floor": Goal("presign", "upload requests with a durable record, of the same requests without", AT_LEAST, 0.65, "%"),
    "presign.p99": Goal("presign", "p99 of upload requests, 64 clients that never pause", AT_MOST, 5, "ms"),
    "signing.s3": Goal("signing", "time to sign an upload to S3, of the bare HMAC chain", AT_MOST, 2, "×"),
    "signing.gcs": Goal("signing", "rate of signing uploads to Google, of raw RSA", AT_LEAST, 0.85, "%"),
    "records.group": Goal("records", "upload requests over HTTP, beside one commit for each record", AT_LEAST, 5, "×"),
    "records.http": Goal("records", "upload requests at 10,000,000 records, of the rate at 10,000", AT_LEAST, 0.8, "%"),
    "records.recorded": Goal("records", "recording at 10,000,000 records, of the rate at 10,000", AT_LEAST, 0.8, "%"),
    "records.finalized": Goal("records", "finalizing at 10,000,000 records, of the rate at 10,000", AT_LEAST, 0.8, "%"),
    "proxy.50KiB.rate": Goal("proxy", "reads of 50 KiB from the CDN, beside nginx", AT_LEAST, 1.0, "×"),
    "proxy.50KiB.cpu": Goal("proxy", "CPU per GB for reads of 50 KiB from the CDN, beside nginx", AT_MOST, 1.0, "×"),
    "proxy.1MiB.rate": Goal("proxy", "reads of 1 MiB from the CDN, beside nginx", AT_LEAST, 1.4, "×"),
    "proxy.1MiB.cpu": Goal("proxy", "CPU per GB for reads of 1 MiB from the CDN, beside nginx", AT_MOST, 1.0, "×"),
    "proxy.64MiB.rate": Goal("proxy", "reads of 64 MiB from the CDN, beside nginx", AT_LEAST, 1.0, "×"),
    "proxy.64MiB.cpu": Goal("proxy", "CPU per GB for reads of 64 MiB from the CDN, beside nginx", AT_MOST, 1.0, "×"),
    "fallback.rate": Goal("fallback", "reads of 50 KiB that the CDN lacks, from storage, beside nginx `error_page`", AT_LEAST, 1.7, "×"),
    "hits.10KiB": Goal("hits", "reads of 10 KiB from memory, beside nginx `proxy_cache`", AT_LEAST, 1.6, "×"),
    "hits.50KiB": Goal("hits", "reads of 50 KiB from memory, beside nginx `proxy_cache`", AT_LEAST, 1.05, "×"),
    "hits.200KiB": Goal("hits", "reads of 200 KiB from memory, beside nginx `proxy_cache`", AT_LEAST, 1.0, "×"),
    "hits.10KiB.varnish": Goal("hits", "reads of 10 KiB from memory, beside Varnish", AT_LEAST, 2, "×"),
    "hits.50KiB.varnish": Goal("hits", "reads of 50 KiB from memory, beside Varnish", AT_LEAST, 2, "×"),
    "hits.304": Goal("hits", "answers 304 from memory, beside nginx", AT_LEAST, 1.75, "×"),
    "hits.range": Goal("hits", "ranges of 16 KiB from memory, beside nginx", AT_LEAST, 1.25, "×"),
    "connections.idle": Goal("connections", "memory of an idle keep-alive connection", AT_MOST, 12, "KiB"),
    "connections.stalled": Goal("connections", "memory of a reader who stands still in a large body", AT_MOST, 100, "KiB"),
    "memory.cdn": Goal("memory", "peak memory, 50 readers of 1 GiB from the CDN", AT_MOST, 150, "MiB"),
    "memory.storage": Goal("memory", "peak memory, 50 readers of 1 GiB from storage", AT_MOST, 150, "MiB"),
    "tail.p99": Goal("tail", "p99 of small answers at 512 connections", AT_MOST, 10, "ms"),
    "growth.presign": Goal("growth", "upload requests with 1,000 apps and 1,000,000 owners, of the rate with 1 app and 100 owners", AT_LEAST, 0.9, "%"),
    "growth.reads": Goal("growth", "reads with 1,000 apps and 1,000,000 owners, of the rate with 1 app and 100 owners", AT_LEAST, 0.9, "%"),
    "healing.whole": Goal("healing", "broken bodies that arrive complete and identical", AT_LEAST, 0.999, "%"),
    "healing.wrong": Goal("healing", "wrong bodies that are delivered as if complete", AT_MOST, 0),
    "healing.aborted": Goal("healing", "broken bodies of objects that have changed: visibly aborted", AT_LEAST, 1.0, "%"),
    "blackout.errors": Goal("blackout", "the CDN falls silent: client errors", AT_MOST, 0),
    "blackout.delayed": Goal("blackout", "the CDN falls silent: delayed reads", AT_MOST, 35),
    "blackout.delay": Goal("blackout", "the CDN falls silent: longest delay", AT_MOST, 350, "ms"),
    "blackout.p99": Goal("blackout", "the CDN is silent: p99 beyond that of storage alone", AT_MOST, 5, "ms"),
    "blackout.recovery": Goal("blackout", "the CDN is back: it serves again after", AT_MOST, 10, "s"),
    "blackout.requests": Goal("blackout", "the CDN is silent: requests to storage for each read", AT_MOST, 1.05, "×"),
    "slow.tail": Goal("slow", "one answer of the CDN in a hundred is 2 s late: p99.9", UNDER, 150, "ms"),
    "slow.extra": Goal("slow", "one answer of the CDN in a hundred is 2 s late: extra requests to storage", AT_MOST, 0.05, "%"),
    "reload.time": Goal("reload", "1,000 changed files of apps: in force after", UNDER, 1, "s"),
    "reload.errors": Goal("reload", "1,000 changed files of apps: failed reads meanwhile", AT_MOST, 0),
    "reload.paused": Goal("reload", "1,000 changed files of apps: paused reads meanwhile", AT_MOST, 0),
    "slowloris.p99": Goal("slowloris", "p99 of a good client among 1,000 slow connections, of that without", AT_MOST, 2, "×"),
    "slowloris.memory": Goal("slowloris", "memory that 1,000 slow connections cost", AT_MOST, 64, "MiB"),
    "overload.peak": Goal("overload", "three times the upload requests that saturate it: granted, of the most", AT_LEAST, 0.9, "%"),
    "overload.refusals": Goal("overload", "three times the upload requests that saturate it: p99 of the refusals", UNDER, 5, "ms"),
    "overload.presign": Goal("overload", "upload requests from three times the clients, of the rate with 64", AT_LEAST, 0.9, "%"),
    "overload.hits": Goal("overload", "reads from memory from three times the clients, of the rate with 64", AT_LEAST, 0.9, "%"),
    "owners.open.memory": Goal("owners", "a million made-up owners, let in: memory that they cost", AT_MOST, 200, "MiB"),
    "owners.open.known": Goal("owners", "a million made-up owners, let in: known owners whose quota they touch", AT_MOST, 0),
    "owners.limits.memory": Goal("owners", "a million made-up owners, default limits: memory that they cost", AT_MOST, 200, "MiB"),
    "owners.limits.known": Goal("owners", "a million made-up owners, default limits: known owners whose quota they touch", AT_MOST, 0),
    "owners.limits.granted": Goal("owners", "a million made-up owners, default limits: granted beyond the limit of one client", AT_MOST, 0),
}
