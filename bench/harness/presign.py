"""Upload requests a second, each with its durable record, beside others that sign uploads."""

import json
import secrets
import urllib.parse

from . import machine
from .load import CORE_COLUMNS, Subject, caution, core_cells, measure, ratios, spread
from .machine import LOAD_CORE, Unfit
from .outcome import Column, Judged, Outcome, Table
from .peers import answer_of, start_companion, start_floor, start_presigner
from .processes import stop
from .reads import upload
from .servers import LOGGING, Gateway, Seaweed, build_bench, request

_ROUTE = "/darkroom/shop/v1/images/presigned-urls"
_PARAMS = "/s3/params?filename=Holiday%20photo.jpg&type=image%2Fjpeg"
_BODY = '{"file":"Holiday photo.jpg","contentType":"image/jpeg","size":51200}'
_JSON = {"Content-Type": "application/json", "X_Owner_Id": "owner-0"}

_OWN = "gateway, log to a file"
_UNRECORDED = "the same without records"
_COMPANION, _NODE = "Uppy Companion", "Node with the AWS presigner"
_FLOOR = "floor: hyper, ready-made answers"


def run(binaries, work, options, say):
    machine.require_weed()
    seaweed = Seaweed.start(work, LOAD_CORE)
    gateways = {}
    for label, binary in binaries.items():
        for logging in LOGGING if label == "gateway" else ["log to a file"]:
            name = f"{label}, {logging}"
            gateways[name] = Gateway.start(
                binary, work, f"presign {name}", s3_url=seaweed.url, logging=logging
            )
    main = gateways[_OWN]
    seaweed.wait_for_buckets(main)
    gateways[_UNRECORDED] = Gateway.start(
        build_bench("unrecorded"), work, "presign unrecorded", s3_url=seaweed.url, has_admin=False
    )
    subjects = [Subject(name, one.process, one.port, _ROUTE, presign=True) for name, one in gateways.items()]
    subjects += _others(work, seaweed, main)
    for subject in subjects:
        if subject.name != _FLOOR:
            _is_taken(subject)
    # All has been signed for it that will be sent there.
    stop(seaweed.process)
    say("presign: storage takes what every subject has signed")
    runs = measure(subjects, options.rounds, options.seconds, say)
    own = runs[_OWN]
    return Outcome("Upload requests", [
        _recorded(main),
        _table(runs),
        *caution(runs),
        Judged("presign.companion", ratios(own, runs[_COMPANION])),
        Judged("presign.node", ratios(own, runs[_NODE])),
        Judged("presign.floor", ratios(own, runs[_UNRECORDED])),
        Judged("presign.p99", spread(own, "p99_ms")),
    ])


def _others(work, seaweed, gateway):
    """Those who are no gateway, before the same storage."""
    companion = start_companion(work, seaweed.url)
    presigner = start_presigner(work, seaweed.url)
    floor = start_floor(work, "floor", {"post": answer_of(gateway.port, "POST", _ROUTE, _BODY, _JSON)})
    return [
        Subject(_COMPANION, companion.process, companion.port, _PARAMS),
        Subject(_NODE, presigner.process, presigner.port, "/", presign=True),
        Subject(_FLOOR, floor.process, floor.port, _ROUTE, presign=True),
    ]


def _is_taken(subject):
    """Uploads with what the subject gives: storage must take it, and have it."""
    content = secrets.token_bytes(51200)
    if subject.name != _COMPANION:
        status, _, answer = request(subject.port, "POST", subject.path, _BODY, _JSON)
        if status != 200:
            raise Unfit(f"{subject.name} grants no upload: {status} {answer[:300]!r}")
        upload(json.loads(answer)["data"], content)
        return
    status, _, answer = request(subject.port, "GET", subject.path)
    if status != 200:
        raise Unfit(f"{subject.name} grants no upload: {status} {answer[:300]!r}")
    form = json.loads(answer)
    kind, body = _form(form["fields"], content)
    url = urllib.parse.urlsplit(form["url"])
    status, _, answer = request(url.port, "POST", url.path, body, {"Content-Type": kind})
    if status not in (200, 201, 204):
        raise Unfit(f"storage refuses an upload that {subject.name} has signed: {status} {answer[:300]!r}")


def _form(fields, content):
    """As browsers send it (RFC 7578): its media type, and its text."""
    mark = secrets.token_hex(16)
    head = f'--{mark}\r\nContent-Disposition: form-data; name="'
    parts = [f'{head}{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields.items()]
    parts += [f'{head}file"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'.encode(), content]
    return f"multipart/form-data; boundary={mark}", b"".join([*parts, f"\r\n--{mark}--\r\n".encode()])


def _table(runs):
    table = Table("", [
        Column("requests/s"),
        Column(f"of {_COMPANION}", digits=1, peer=_COMPANION, drawn=True, label=f"requests/s, of {_COMPANION}",
               is_log=True, goal="presign.companion"),
        Column(f"of {_NODE}", digits=1, peer=_NODE),
        Column(f"of {_UNRECORDED}", share=True, peer=_UNRECORDED, drawn=True, label=f"requests/s, of {_UNRECORDED}",
               goal="presign.floor"),
        Column("p50 ms", digits=2),
        Column("p99 ms", digits=2, drawn=True, is_log=True, goal="presign.p99"),
        Column("CPU µs each", digits=1),
        *CORE_COLUMNS,
    ])
    for name, mine in runs.items():
        # Those have no records that they could do without.
        of_unrecorded = None if name in (_COMPANION, _NODE) else ratios(mine, runs[_UNRECORDED])
        table.add(
            name, spread(mine), ratios(mine, runs[_COMPANION]), ratios(mine, runs[_NODE]), of_unrecorded,
            spread(mine, "p50_ms"), spread(mine, "p99_ms"), spread(mine, "cpu_us"), *core_cells(mine),
        )
    return table


def _recorded(gateway):
    """How many records the requests became, and in what groups."""
    commits = gateway.total("safelight_records_group_size_count")
    records = gateway.total("safelight_records_group_size_sum")
    seconds = gateway.total("safelight_records_commit_seconds_sum")
    granted = gateway.total("safelight_presigns_total", 'outcome="ok"')
    if records < granted:
        raise Unfit(f"{granted:.0f} URLs left, but there are only {records:.0f} records")
    return (
        f"{granted:,.0f} requests were granted in all, {records:,.0f} records were committed in "
        f"{commits:,.0f} commits: {records / commits:.1f} records and {seconds / commits * 1e3:.2f} ms each."
    )
