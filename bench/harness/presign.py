"""Upload requests a second, each with its durable record."""

from .load import CORE_COLUMNS, Subject, caution, core_cells, measure, ratios, spread
from .machine import Unfit
from .outcome import Column, Judged, Outcome, Table
from .servers import LOGGING, Gateway, request

_ROUTE = "/darkroom/{}/v1/images/presigned-urls"


def run(binaries, work, options, say):
    subjects, gateways = [], {}
    for label, binary in binaries.items():
        for logging in LOGGING if label == "gateway" else ["log to a file"]:
            name = f"{label}, {logging}"
            gateway = gateways[name] = Gateway.start(binary, work, f"presign {name}", logging=logging)
            path = _ROUTE.format("shop")
            subjects.append(Subject(name, gateway.process, gateway.port, path, presign=True))
    main = gateways["gateway, log to a file"]
    floor = "floor: 404, the same request to an unknown app"
    path = _ROUTE.format("nobody")
    status, _, _ = request(main.port, "POST", path, "{}", {"X_Owner_Id": "owner-0"})
    if status != 404:
        raise Unfit(f"a request to an unknown app is answered {status}")
    subjects.append(Subject(floor, main.process, main.port, path, presign=True, refused=True))

    runs = measure(subjects, options.rounds, options.seconds, say)
    own = runs["gateway, log to a file"]
    return Outcome("Upload requests", [
        _recorded(main),
        _table(runs, floor),
        *caution(runs),
        Judged("presign.floor", ratios(own, runs[floor])),
        Judged("presign.p99", spread(own, "p99_ms")),
    ])


def _table(runs, floor):
    table = Table("subject", [
        Column("requests/s"),
        Column("of the floor", digits=2, peer=floor, drawn=True, goal="presign.floor"),
        Column("p50 ms", digits=2),
        Column("p99 ms", digits=2, drawn=True, goal="presign.p99"),
        Column("CPU µs each", digits=1),
        *CORE_COLUMNS,
    ])
    for name, mine in runs.items():
        table.add(
            name, spread(mine), ratios(mine, runs[floor]), spread(mine, "p50_ms"), spread(mine, "p99_ms"),
            spread(mine, "cpu_us"), *core_cells(mine),
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
