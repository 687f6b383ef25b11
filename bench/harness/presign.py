"""Upload requests a second, each with its durable record."""

from .load import CORE_HEADS, Subject, caution, core_cells, measure, ratios, spread
from .machine import Unfit
from .report import table
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
    heads = ["subject", "requests/s", "of the floor", "p50 ms", "p99 ms", "CPU µs each", *CORE_HEADS]
    rows = []
    for name, mine in runs.items():
        rows.append([
            name,
            spread(r.rate for r in mine),
            spread(ratios(mine, runs[floor]), 2),
            spread((r.p50_ms for r in mine), 2),
            spread((r.p99_ms for r in mine), 2),
            spread((r.cpu_us for r in mine), 1),
            *core_cells(mine),
        ])
    commits = main.total("safelight_records_group_size_count")
    records = main.total("safelight_records_group_size_sum")
    seconds = main.total("safelight_records_commit_seconds_sum")
    granted = main.total("safelight_presigns_total", 'outcome="ok"')
    if records < granted:
        raise Unfit(f"{granted:.0f} URLs left, but there are only {records:.0f} records")
    return "\n\n".join([
        "## Upload requests",
        f"{granted:,.0f} requests were granted in all, {records:,.0f} records were committed in "
        f"{commits:,.0f} commits: {records / commits:.1f} records and {seconds / commits * 1e3:.2f} ms each.",
        table(heads, rows),
        *caution(runs),
    ])
