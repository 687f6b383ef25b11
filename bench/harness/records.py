"""How fast uploads are recorded: in groups, and in a table that has grown."""

import json
import subprocess

from .load import CLIENTS, Subject, measure, ratios, spread
from .machine import MEASURED_CORE, Unfit
from .outcome import Column, Judged, Outcome, Spread, Table
from .servers import Gateway, build_bench

_ROUTE = "/darkroom/shop/v1/images/presigned-urls"
_GROUP = 512
SMALL, LARGE = 10_000, 10_000_000
#: What is done in both tables, and whose goal it is.
_GOALS = {"over HTTP": "records.http", "recorded": "records.recorded", "finalized": "records.finalized"}


def run(binaries, work, options, say):
    tool = build_bench("records")
    return Outcome("Records", [
        *_group_commit(tool, binaries["gateway"], work, options, say),
        *_growth(tool, binaries["gateway"], work, options, say),
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
    times = Spread.of(many.rate / one["inserts"] for many, one in zip(http, single))
    alone = "the store alone, one commit for each record"
    table = Table("", [
        Column("records/s"),
        Column("p99 ms", digits=2),
        Column("of one by one", digits=2, peer=alone, drawn=True, label="records/s, of one by one",
               goal="records.group"),
    ])
    table.add("upload requests over HTTP, recorded in groups", spread(http), spread(http, "p99_ms"), times)
    table.add(alone, *_cells(single, "insert"), 1)
    return [f"{CLIENTS} clients.", table, Judged("records.group", times)]


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
        "over HTTP": ratios(http[large], http[small]),
        "recorded": _shares(store, "inserts"),
        "finalized": _shares(store, "finalizes"),
    }
    return [
        f"A table of {LARGE:,} records ({megabytes[LARGE]:,.0f} MB) beside one of {SMALL:,}: over HTTP, "
        "and the store alone (`finalized`: one read and two changes each).",
        _sizes(http, store, shares),
        *(Judged(goal, shares[what]) for what, goal in _GOALS.items()),
    ]


def _sizes(http, store, shares):
    table = Table("with so many records", [
        Column("a second"),
        Column("p99 ms", digits=2),
        Column("of the small one", share=True, drawn=True, label=f"a second, of a table of {SMALL:,}"),
    ])
    cells = {
        "over HTTP": lambda size: [spread(http[str(size)]), spread(http[str(size)], "p99_ms")],
        "recorded": lambda size: _cells(store[size], "insert"),
        "finalized": lambda size: _cells(store[size], "finalize"),
    }
    for what, goal in _GOALS.items():
        table.add(f"{what}, {SMALL:,}", *cells[what](SMALL), None)
        table.add(f"{what}, {LARGE:,}", *cells[what](LARGE), shares[what], goal=goal)
    return table


def _shares(store, what):
    return Spread.of(large[what] / small[what] for large, small in zip(store[LARGE], store[SMALL]))


def _cells(runs, what):
    return [Spread.of(run[field] for run in runs) for field in (f"{what}s", f"{what}_p99_ms")]


def _rates(tool, path, seconds, group):
    return json.loads(_tool(tool, "rates", path, seconds, group))


def _tool(tool, *arguments):
    command = ["taskset", "-c", str(MEASURED_CORE), tool, *arguments]
    ran = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if ran.returncode != 0:
        raise Unfit(f"the store failed: {ran.stdout}{ran.stderr}")
    return ran.stdout
