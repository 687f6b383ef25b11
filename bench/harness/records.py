"""How fast uploads are recorded: in groups, and in a table that has grown."""

import json
import statistics
import subprocess

from .load import CLIENTS, Subject, measure, ratios, spread
from .machine import MEASURED_CORE, Unfit
from .report import table
from .servers import Gateway, build_bench

_ROUTE = "/darkroom/shop/v1/images/presigned-urls"
_GROUP = 512
SMALL, LARGE = 10_000, 10_000_000


def run(binaries, work, options, say):
    tool = build_bench("records")
    return "\n\n".join([
        "## Records",
        _group_commit(tool, binaries["gateway"], work, options, say),
        _growth(tool, binaries["gateway"], work, options, say),
    ])


def _group_commit(tool, binary, work, options, say):
    """Upload requests over HTTP, beside a store that waits for the disk once for each record."""
    gateway = Gateway.start(binary, work, "records group commit")
    subject = Subject("over HTTP", gateway.process, gateway.port, _ROUTE, presign=True)
    http, single = [], []
    for turn in range(options.rounds):
        http += measure([subject], 1, options.seconds, lambda _: None)[subject.name]
        single.append(_rates(tool, work / "single.db", options.seconds, 1))
        say(f"  {turn + 1}/{options.rounds} {http[-1].rate:,.0f}/s over HTTP, "
            f"{single[-1]['inserts']:,.0f}/s one by one")
    times = [many.rate / one["inserts"] for many, one in zip(http, single)]
    rows = [
        ["upload requests over HTTP, recorded in groups", spread(r.rate for r in http),
         spread((r.p99_ms for r in http), 2), spread(times, 2)],
        ["the store alone, one commit for each record", spread(r["inserts"] for r in single),
         spread((r["insert_p99_ms"] for r in single), 2), "1"],
    ]
    return "\n\n".join([
        f"{CLIENTS} clients. The goal is 5 times the rate of one wait for the disk for each record: "
        + _verdict(statistics.median(times) >= 5),
        table(["", "records/s", "p99 ms", "of one by one"], rows),
    ])


def _growth(tool, binary, work, options, say):
    """The same work in a small and in a large table."""
    paths = {}
    for size in (SMALL, LARGE):
        paths[size] = work / f"{size}.db"
        say(f"  filling a table of {size:,} records")
        _tool(tool, "fill", paths[size], size)
    megabytes = {size: path.stat().st_size / 1e6 for size, path in paths.items()}
    store = {size: [] for size in paths}
    for turn in range(options.rounds):
        for size in sorted(paths, reverse=turn % 2):
            store[size].append(_rates(tool, paths[size], options.seconds, _GROUP))
            say(f"  {turn + 1}/{options.rounds} {size:,}: {store[size][-1]}")
    subjects = []
    for size, path in paths.items():
        gateway = Gateway.start(binary, work, f"records {size}", records=path)
        subjects.append(Subject(str(size), gateway.process, gateway.port, _ROUTE, presign=True))
    http = measure(subjects, options.rounds, options.seconds, say)
    small, large = str(SMALL), str(LARGE)
    shares = {
        "upload requests over HTTP": ratios(http[large], http[small]),
        "recorded": [l["inserts"] / s["inserts"] for l, s in zip(store[LARGE], store[SMALL])],
        "finalized": [l["finalizes"] / s["finalizes"] for l, s in zip(store[LARGE], store[SMALL])],
    }
    rows = []
    for size in (SMALL, LARGE):
        runs, full = http[str(size)], f"{size:,}"
        rows.append([full, "upload requests over HTTP", spread(r.rate for r in runs),
                     spread((r.p99_ms for r in runs), 2), "1"])
        rows.append([full, "recorded", *_cells(store[size], "insert"), "1"])
        rows.append([full, "finalized", *_cells(store[size], "finalize"), "1"])
    for row in rows[3:]:
        row[-1] = spread(shares[row[1]], 2)
    met = all(statistics.median(share) >= 0.8 for share in shares.values())
    return "\n\n".join([
        f"A table of {LARGE:,} records ({megabytes[LARGE]:,.0f} MB) beside one of {SMALL:,}: over HTTP, "
        "and the store alone (`finalized`: one read and two changes each). The goal is 0.8 of the "
        "rates of the small one: " + _verdict(met),
        table(["records", "", "a second", "p99 ms", "of the small one"], rows),
    ])


def _cells(runs, what):
    rate = spread(run[f"{what}s"] for run in runs)
    return rate, spread((run[f"{what}_p99_ms"] for run in runs), 2)


def _verdict(met):
    return "met." if met else "**not met.**"


def _rates(tool, path, seconds, group):
    return json.loads(_tool(tool, "rates", path, seconds, group))


def _tool(tool, *arguments):
    command = ["taskset", "-c", str(MEASURED_CORE), tool, *arguments]
    ran = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if ran.returncode != 0:
        raise Unfit(f"the store failed: {ran.stdout}{ran.stderr}")
    return ran.stdout
