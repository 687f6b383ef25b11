"""More than the gateway can do: three times what saturates it."""

import shutil

from .load import Subject, caution, core_cells, measure, spread, CORE_HEADS
from .machine import Unfit, repository
from .open_load import PATIENCE, Load
from .reads import goal, on_load_core, percentile
from .report import table
from .servers import Gateway, request, start_cdn

_ROUTE = "/darkroom/{}/v1/images/presigned-urls"
#: How many requests at once saturate the signing of URLs.
SATURATING = 16
OWNERS = 1000
#: Clients that never pause: as many as in the other measurements, and three times and more.
CLIENTS = (64, 192, 1024)

_GCS = """
AllowPublicUpload = true
[Storage]
Kind = "gcs"
Bucket = "media-bench"
CredentialsFile = "key.json"
[RateLimit]
PerOwner = { Rate = "1000000/s", Burst = 100000000 }
PerApp = { Rate = "1000000/s", Burst = 100000000 }
"""


def run(binaries, work, options, say):
    parts = ["## Overload", _signing(binaries, work, options, say), *_cheap(binaries, work, options, say)]
    return "\n\n".join(parts)


def _signing(binaries, work, options, say):
    """Upload requests that cost an RSA signature each."""
    rows, goals = [], []
    seconds = max(options.seconds, 8)
    for label, binary in binaries.items():
        gateway = Gateway.start(binary, work, f"overload {label}", apps={"cloud": _GCS}, prepare=_put_key)
        load = Load(gateway.port, _posts("cloud"))
        with on_load_core() as cores:
            load.saturate(SATURATING, 2)
            saturated = load.saturate(SATURATING, seconds)
            rate = saturated.good
            say(f"  {label}: saturated at {rate:,.0f}/s")
            runs = {"1 ×": load.offer(rate, seconds), "3 ×": load.offer(3 * rate, seconds)}
        if not rate:
            raise Unfit(f"no upload is granted: {dict(saturated.took)}")
        peak = max(rate, runs["1 ×"].good)
        rows.append(_row(f"{label}: {SATURATING} clients", saturated, peak))
        rows += [_row(f"{label}: {name} that rate", outcome, peak) for name, outcome in runs.items()]
        over = runs["3 ×"]
        kept = over.good / peak
        goals.append(goal(f"{label}: at least 90 % of the peak at 3 ×: {kept:.0%}", kept >= 0.9))
        refused = over.took[503]
        slow = percentile(refused, 0.99) * 1e3 if refused else float("inf")
        told = f"{slow:.1f} ms" if refused else "nobody was refused"
        goals.append(goal(f"{label}: refusals in under 5 ms (p99): {told}", slow < 5))
    heads = ["", "sent/s", "good/s", "of the peak", "good p50 ms", "good p99 ms", "refused/s",
             "refused p50 ms", "refused p99 ms", "lost", "sent late p99 ms"]
    return "\n\n".join([
        "Upload requests whose URL is signed with an RSA key, each sent when it is due, and timed from "
        f"then on. Good is what was granted within {PATIENCE:.0f} s; refused is 503.",
        table(heads, rows),
        "\n".join(goals),
        str(cores),
    ])


def _row(name, outcome, peak):
    def times(status):
        took = outcome.took[status]
        return [f"{percentile(took, share) * 1e3:.1f}" if took else "–" for share in (0.5, 0.99)]

    sent = sum(map(len, outcome.took.values())) + outcome.lost
    refused = len(outcome.took[503]) / outcome.seconds
    return [
        name, f"{sent / outcome.seconds:,.0f}", f"{outcome.good:,.0f}", f"{outcome.good / peak:.0%}",
        *times(200), f"{refused:,.0f}", *times(503), outcome.lost,
        f"{percentile(outcome.late, 0.99) * 1e3:.1f}",
    ]


def _posts(app):
    body = b'{"file":"Holiday photo.jpg","contentType":"image/jpeg","size":51200}'
    head = f"POST {_ROUTE.format(app)} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    return [
        f"{head}X_Owner_Id: owner-{owner}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        for owner in range(OWNERS)
    ]


def _put_key(folder):
    secrets = folder / "secrets/cloud"
    secrets.mkdir(parents=True)
    shutil.copy(repository() / "tests/keys/service-account.json", secrets / "key.json")


def _cheap(binaries, work, options, say):
    """Requests that cost hardly more than their refusal: clients that never pause, more and more."""
    cdn = start_cdn(work)
    read = 'MemoryCacheMaxObject = "256KiB"\nOriginShare = 0\nHedgeAfter = "off"\n'
    gateway = Gateway.start(binaries["gateway"], work, "overload cheap", cdn, read=read)
    key = gateway.presign()["key"]
    (work / "objects/images" / key).write_bytes(bytes(10 * 1024))
    path = gateway.path_of(key)
    for _ in range(2):
        _, headers, _ = request(gateway.port, "GET", path)
    if headers.get("Cache-Status") != "safelight; hit":
        raise Unfit(f"GET {path} is no hit: {headers.get('Cache-Status')}")
    for what, target, presign in (
        ("upload requests", _ROUTE.format("shop"), True),
        ("reads of 10 KiB from memory", path, False),
    ):
        subjects = [
            Subject(f"{clients} clients", gateway.process, gateway.port, target, presign, clients=clients)
            for clients in CLIENTS
        ]
        runs = measure(subjects, options.rounds, options.seconds, say)
        base = f"{CLIENTS[0]} clients"
        rows = []
        for name, mine in runs.items():
            ratio = [run.rate / best.rate for run, best in zip(mine, runs[base])]
            rows.append([
                name, spread(r.rate for r in mine), spread(ratio, 2), spread((r.p50_ms for r in mine), 1),
                spread((r.p99_ms for r in mine), 1), *core_cells(mine),
            ])
        kept = sorted(run.rate / best.rate for run, best in zip(runs["192 clients"], runs[base]))
        median = kept[len(kept) // 2]
        heads = [what, "requests/s", f"of {base}", "p50 ms", "p99 ms", *CORE_HEADS]
        yield "\n\n".join([
            "A refusal costs nearly as much as the answer here, so that nobody is refused and all wait: no "
            "longer than all connections together take. One core gives no load of three times this rate.",
            table(heads, rows),
            goal(f"{what}: at least 90 % of the rate with three times the clients: {median:.0%}", median >= 0.9),
            *caution(runs),
        ])
