"""Whether a gateway that serves many is slower than one that serves few: a thousand apps beside one, and a
million owners beside a hundred."""

import json
import random
import subprocess

from .load import CORE_COLUMNS, SCRIPT, Subject, caution, core_cells, measure, ratios, spread
from .machine import LOAD_CORE, Unfit
from .outcome import Column, Judged, Outcome, Table
from .processes import stop
from .servers import Gateway, app_file, request, start_cdn

APPS, OWNERS = (1, 1000), (100, 1_000_000)
OBJECTS, SIZE = 1000, 10 * 1024
_ROUTE = "/darkroom/{}/v1/images/presigned-urls"
_GOALS = {"upload requests": "growth.presign", "reads": "growth.reads"}

_READ = """
MemoryCacheMaxObject = "256KiB"
OriginShare = 0
HedgeAfter = "off"
"""

#: By how many owners there are: each is remembered for as long as this takes, and none comes to the end of
#: what it may ask for. (A limit must be whole again within 30 days.)
_LIMITS = {
    count: f'PerOwner = {{ Rate = "{rate}", Burst = {burst} }}\n'
    'PerApp = { Rate = "1000000/s", Burst = 100000000 }\n'
    for count, rate, burst in ((OWNERS[0], "1/m", 43_200), (OWNERS[1], "1/h", 720))
}


def run(binaries, work, options, say):
    cdn = start_cdn(work)
    apps = _apps(binaries["gateway"], work, cdn, options, say)
    owners = _owners(binaries["gateway"], work, cdn, options, say)
    parts = [
        f"Reads are those of {OBJECTS:,} objects of {SIZE // 1024} KiB in memory, in turns; upload requests go to "
        "all apps in turns. The owners ask once each before they are measured, the few as often as the many: as "
        "many records, and as many owners as the limits remember.",
    ]
    worst = {}
    for what, (few, many, runs) in {**apps, **owners}.items():
        kind, share = what.partition(",")[0], ratios(runs[many], runs[few])
        parts += _told(what, few, many, runs, _GOALS[kind])
        worst[kind] = min(share, worst.get(kind, share), key=lambda spread: spread.median)
    judged = [Judged(goal, worst[kind], "It is the worse of the two.") for kind, goal in _GOALS.items()]
    return Outcome("Growth", [*parts, *judged])


def _apps(binary, work, cdn, options, say):
    """The runs of few and many apps, by what is asked."""
    posts, reads = [], []
    for count in APPS:
        say(f"growth: {count:,} apps")
        names = [f"app-{number}" for number in range(count)]
        files = {name: app_file(cdn.url, "http://127.0.0.1:9", f"media-{name}", _READ) for name in names}
        gateway = Gateway.start(binary, work, f"growth {count} apps", cdn, apps=files)
        name = f"{count:,} app{'s' if count > 1 else ''}"
        lines = [f"POST {_ROUTE.format(names[turn % count])} owner-{turn}" for turn in range(10_000)]
        posts.append(_subject(gateway, name, work / f"posts-{count}", lines))
        lines = _published(gateway, work, [names[turn % count] for turn in range(OBJECTS)])
        reads.append(_subject(gateway, name, work / f"reads-{count}", lines))
    return _measured(posts, reads, "apps", options, say)


def _owners(binary, work, cdn, options, say):
    """The runs of few and many owners, by what is asked."""
    posts, reads = [], []
    for count in OWNERS:
        say(f"growth: {count:,} owners")
        gateway = Gateway.start(binary, work, f"growth {count} owners", cdn, read=_READ, limits=_LIMITS[count])
        _introduce(gateway, count)
        name = f"{count:,} owners"
        posts.append(Subject(name, gateway.process, gateway.port, _ROUTE.format("shop"), among=count))
        lines = _published(gateway, work, ["shop"] * OBJECTS)
        reads.append(_subject(gateway, name, work / f"owners-{count}", lines))
    return _measured(posts, reads, "owners", options, say)


def _measured(posts, reads, of, options, say):
    few, many = (subject.name for subject in posts)
    found = {
        f"{kind}, {of}": (few, many, measure(subjects, options.rounds, options.seconds, say))
        for kind, subjects in (("upload requests", posts), ("reads", reads))
    }
    for subject in posts:
        stop(subject.process)
    return found


def _told(what, few, many, runs, goal):
    table = Table(what, [
        Column("requests/s"),
        Column(f"of {few}", share=True, peer=few, drawn=True, label=f"requests/s, of {few}", goal=goal),
        Column("p50 ms", digits=2),
        Column("p99 ms", digits=2),
        Column("CPU µs each", digits=1),
        *CORE_COLUMNS,
    ])
    for name in (few, many):
        mine = runs[name]
        table.add(
            name, spread(mine), ratios(mine, runs[few]), spread(mine, "p50_ms"), spread(mine, "p99_ms"),
            spread(mine, "cpu_us"), *core_cells(mine),
        )
    return [table, *caution(runs)]


def _subject(gateway, name, path, lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return Subject(name, gateway.process, gateway.port, "/", requests=path)


def _published(gateway, work, apps):
    """An object in memory for each of these apps; the reads of all of them."""
    content, paths = random.Random(1).randbytes(SIZE), []
    for turn, app in enumerate(apps):
        key = gateway.presign(app, f"publisher-{turn}")["key"]
        (work / "objects/images" / key).write_bytes(content)
        paths.append(gateway.path_of(key, app))
    for turn in range(2):
        for path in paths:
            status, headers, body = request(gateway.port, "GET", path)
            if status != 200 or body != content:
                raise Unfit(f"GET {path}: {status}, {len(body)} bytes")
            if turn and headers.get("Cache-Status") != "safelight; hit":
                raise Unfit(f"GET {path} is no hit: {headers.get('Cache-Status')}")
    return [f"GET {path}" for path in paths]


def _introduce(gateway, count):
    """As many upload requests as there are owners at most, by so many owners."""
    asked, before = 0, gateway.total("safelight_presigns_total", 'outcome="ok"')
    while asked < max(OWNERS):
        url = f"http://127.0.0.1:{gateway.port}{_ROUTE.format('shop')}"
        command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", "-c64", "-d5s", "--timeout", "10s"]
        command += ["-s", str(SCRIPT), url, "--", "among", str(count), str(asked)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if ran.returncode != 0:
            raise Unfit(f"wrk failed: {ran.stdout}{ran.stderr}")
        seen = json.loads(ran.stdout.strip().splitlines()[-1])
        if seen["broken"] or seen["statuses"] or not seen["requests"]:
            raise Unfit(f"not every owner is let in: {seen}")
        asked += seen["requests"]
    granted = gateway.total("safelight_presigns_total", 'outcome="ok"') - before
    if granted < asked:
        raise Unfit(f"{asked:,} owners were let in, and {granted:,.0f} uploads granted")
