"""More than the gateway can do: three times what saturates it."""

import shutil

from .load import CORE_COLUMNS, Subject, caution, core_cells, measure, ratios, spread
from .machine import Unfit, repository
from .open_load import PATIENCE, Load
from .outcome import Column, Judged, Outcome, Table
from .reads import on_load_core, percentile
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
    parts = [*_signing(binaries, work, options, say), *_cheap(binaries, work, options, say)]
    return Outcome("Overload", parts)


def _signing(binaries, work, options, say):
    """Upload requests that cost an RSA signature each."""
    table = Table("RSA signatures", [
        Column("sent/s"),
        Column("good/s"),
        Column("of the peak", share=True),
        Column("good p50 ms", digits=1),
        Column("good p99 ms", digits=1),
        Column("refused/s"),
        Column("refused p50 ms", digits=1),
        Column("refused p99 ms", digits=1),
        Column("lost"),
        Column("sent late p99 ms", digits=1),
    ], stacked=["good/s", "refused/s"])
    judged = []
    for label, binary in binaries.items():
        saturated, at_rate, over, cores = _saturated(label, binary, work, options, say)
        peak = max(saturated.good, at_rate.good)
        table.add(f"{label}: {SATURATING} clients", *_cells(saturated, peak))
        table.add(f"{label}: 1 × that rate", *_cells(at_rate, peak))
        table.add(f"{label}: 3 × that rate", *_cells(over, peak))
        if label == "gateway":
            judged.append(Judged("overload.peak", over.good / peak))
            if not over.took[503]:
                raise Unfit(f"void: three times {peak:,.0f} requests a second, and nobody was refused")
            judged.append(Judged("overload.refusals", percentile(over.took[503], 0.99) * 1e3))
    return [
        "Upload requests whose URL is signed with an RSA key, each sent when it is due, and timed from "
        f"then on. Good is what was granted within {PATIENCE:.0f} s; refused is 503.",
        table,
        *judged,
        str(cores),
    ]


def _saturated(label, binary, work, options, say):
    """One gateway at the rate that saturates it: found out, offered, and offered three times."""
    seconds = max(options.seconds, 8)
    gateway = Gateway.start(binary, work, f"overload {label}", apps={"cloud": _GCS}, prepare=_put_key)
    load = Load(gateway.port, _posts("cloud"))
    with on_load_core() as cores:
        load.saturate(SATURATING, 2)
        saturated = load.saturate(SATURATING, seconds)
        rate = saturated.good
        say(f"  {label}: saturated at {rate:,.0f}/s")
        if not rate:
            raise Unfit(f"no upload is granted: {dict(saturated.took)}")
        at_rate, over = load.offer(rate, seconds), load.offer(3 * rate, seconds)
    return saturated, at_rate, over, cores


def _cells(outcome, peak):
    def times(status):
        took = outcome.took[status]
        return [percentile(took, share) * 1e3 if took else None for share in (0.5, 0.99)]

    sent = sum(map(len, outcome.took.values())) + outcome.lost
    refused = len(outcome.took[503]) / outcome.seconds
    return [
        sent / outcome.seconds, outcome.good, outcome.good / peak, *times(200), refused, *times(503),
        outcome.lost, percentile(outcome.late, 0.99) * 1e3,
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
    yield (
        "A refusal of what follows costs nearly as much as the answer, so that nobody is refused and all wait: "
        "no longer than all connections together take. One core gives no load of three times this rate."
    )
    for what, target, presign, goal in (
        ("upload requests", _ROUTE.format("shop"), True, "overload.presign"),
        ("reads of 10 KiB from memory", path, False, "overload.hits"),
    ):
        subjects = [
            Subject(f"{clients} clients", gateway.process, gateway.port, target, presign, clients=clients)
            for clients in CLIENTS
        ]
        runs = measure(subjects, options.rounds, options.seconds, say)
        base = f"{CLIENTS[0]} clients"
        yield _by_clients(what, runs, base, goal)
        yield from caution(runs)
        yield Judged(goal, ratios(runs["192 clients"], runs[base]))


def _by_clients(what, runs, base, goal):
    table = Table(what, [
        Column("requests/s"),
        Column(f"of {base}", share=True, peer=base, drawn=True, label=f"requests/s, of {base}", goal=goal),
        Column("p50 ms", digits=1),
        Column("p99 ms", digits=1),
        *CORE_COLUMNS,
    ])
    for name, mine in runs.items():
        table.add(
            name, spread(mine), ratios(mine, runs[base]), spread(mine, "p50_ms"), spread(mine, "p99_ms"),
            *core_cells(mine),
        )
    return table
