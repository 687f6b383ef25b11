"""Load, measured: runs of wrk that alternate between the subjects of a comparison."""

import json
import subprocess
import time

from dataclasses import dataclass
from pathlib import Path

from .machine import LOAD_CORE, MEASURED_CORE, Unfit
from .outcome import Column, Spread, Table
from .processes import cpu_seconds, idle_seconds

SCRIPT = Path(__file__).resolve().parents[1] / "load.lua"
CLIENTS = 64


@dataclass
class Subject:
    """What is measured: a program and a URL path of it."""

    name: str
    process: object
    port: int
    path: str
    presign: bool = False
    #: Whether every answer is to be a refusal.
    refused: bool = False
    #: How many ask without a pause.
    clients: int = CLIENTS
    #: A header of every request.
    header: str = ""
    #: A file with requests to send in turns, instead of one for the path.
    requests: object = None
    #: Upload requests by so many owners, in turns.
    among: int = 0


@dataclass
class Run:
    """One run of the load against one subject."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    cpu_per_gb: float
    #: How much of its core the measured program had, 0 to 1.
    own_share: float
    #: Busy shares of the two cores, with whatever else ran there, 0 to 1.
    measured_core: float
    load_core: float


def measure(subjects, rounds, seconds, say):
    """Rounds of runs, each round with every subject once; the order turns by one each round."""
    for subject in subjects:
        _run(subject, 2)
    runs = {subject.name: [] for subject in subjects}
    for turn in range(rounds):
        for place in range(len(subjects)):
            subject = subjects[(turn + place) % len(subjects)]
            run = _run(subject, seconds)
            runs[subject.name].append(run)
            say(f"  {turn + 1}/{rounds} {subject.name}: {run.rate:,.0f}/s")
    return runs


def _run(subject, seconds):
    url = f"http://127.0.0.1:{subject.port}{subject.path}"
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{subject.clients}", f"-d{seconds}s"]
    command += ["-H", subject.header] if subject.header else []
    command += ["--timeout", "10s", "-s", str(SCRIPT), url, "--"]
    command += _wanted(subject)
    cores = (MEASURED_CORE, LOAD_CORE)
    cpu, idle, begun = cpu_seconds(subject.process), [idle_seconds(c) for c in cores], time.monotonic()
    ran = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    cpu, took = cpu_seconds(subject.process) - cpu, time.monotonic() - begun
    busy = [max(0.0, 1 - (idle_seconds(core) - was) / took) for core, was in zip(cores, idle)]
    if ran.returncode != 0:
        raise Unfit(f"wrk failed: {ran.stdout}{ran.stderr}")
    seen = json.loads(ran.stdout.strip().splitlines()[-1])
    requests = seen["requests"]
    refused = requests if subject.refused else 0
    if requests == 0 or seen["broken"] or seen["statuses"] != refused:
        raise Unfit(f"{subject.name}: not every request was answered as it should be: {seen}")
    return Run(
        rate=requests / seen["microseconds"] * 1e6,
        p50_ms=seen["p50"] / 1e3,
        p99_ms=seen["p99"] / 1e3,
        cpu_us=cpu / requests * 1e6,
        cpu_per_gb=cpu / seen["bytes"] * 1e9,
        own_share=cpu / took,
        measured_core=busy[0],
        load_core=busy[1],
    )


def _wanted(subject):
    """What `load.lua` is told."""
    if subject.requests:
        return ["requests", str(subject.requests)]
    if subject.among:
        return ["among", str(subject.among), "0"]
    return ["presign"] if subject.presign else []


#: The columns that say whether a run was a fair one.
CORE_COLUMNS = [Column(head, digits=2) for head in ("own share of core", "core busy", "load core busy")]


def core_cells(runs):
    return [spread(runs, field) for field in ("own_share", "measured_core", "load_core")]


def spread(runs, field="rate"):
    return Spread.of(getattr(run, field) for run in runs)


def caution(runs):
    """What a reader must know of these runs, if others had a part of the measured core."""
    every = [run for mine in runs.values() for run in mine]
    shared = sum(run.measured_core - run.own_share > 0.15 for run in every)
    if shared * 10 < len(every):
        return []
    return [
        f"**In {shared} of {len(every)} of these runs other programs had more than 15 % of the measured core: "
        "compare CPU, not rates or latencies.**"
    ]


def ratios(runs, over, field="rate"):
    """What two subjects had in the same round, divided."""
    return Spread.of(getattr(a, field) / getattr(b, field) for a, b in zip(runs, over))


def beside(head, runs, peer, goal="", others=(), p99_goal=""):
    """The runs of all subjects as a table, with what they are of those of one of them, and what their rate is
    of that of others. The goal, if there is one, is for the rate beside the first."""
    table = Table(head, [
        Column("requests/s"),
        Column(f"of {peer}", digits=2, peer=peer, drawn=True, label=f"requests/s, of {peer}", goal=goal),
        *(Column(f"of {other}", digits=2, peer=other) for other in others),
        Column("CPU s per GB", digits=3),
        Column(f"CPU of {peer}", digits=2, peer=peer),
        Column("p50 ms", digits=2),
        Column("p99 ms", digits=2, drawn=bool(p99_goal), goal=p99_goal),
        *CORE_COLUMNS,
    ])
    for name, mine in runs.items():
        table.add(
            name, spread(mine), *(ratios(mine, runs[one]) for one in (peer, *others)),
            spread(mine, "cpu_per_gb"), ratios(mine, runs[peer], "cpu_per_gb"), spread(mine, "p50_ms"),
            spread(mine, "p99_ms"), *core_cells(mine),
        )
    return [table, *caution(runs)]
