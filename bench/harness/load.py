"""Load, measured: runs of wrk that alternate between the subjects of a comparison."""

import json
import statistics
import subprocess
import time

from dataclasses import dataclass
from pathlib import Path

from .machine import LOAD_CORE, MEASURED_CORE, Unfit
from .processes import cpu_seconds, idle_seconds
from .report import table

_SCRIPT = Path(__file__).resolve().parents[1] / "load.lua"
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
    #: A header of every request.
    header: str = ""


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
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{CLIENTS}", f"-d{seconds}s"]
    command += ["-H", subject.header] if subject.header else []
    command += ["--timeout", "10s", "-s", str(_SCRIPT), url, "--"]
    command += ["presign"] if subject.presign else []
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


def spread(values, digits=0):
    """Median and extremes, as text."""
    values = list(values)
    median, low, high = statistics.median(values), min(values), max(values)
    return f"{median:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"


#: The columns that say whether a run was a fair one.
CORE_HEADS = ["own share of core", "core busy", "load core busy"]


def core_cells(runs):
    return [
        spread((getattr(run, field) for run in runs), 2)
        for field in ("own_share", "measured_core", "load_core")
    ]


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
    return [getattr(a, field) / getattr(b, field) for a, b in zip(runs, over)]


def beside(size_name, runs, nginx):
    """The runs of all subjects as a table, with what they are of those of nginx."""
    heads = [size_name, "requests/s", "of nginx", "CPU s per GB", "of nginx", "p50 ms", "p99 ms"]
    heads += CORE_HEADS
    rows = []
    for name, mine in runs.items():
        rows.append([
            name,
            spread(r.rate for r in mine),
            spread(ratios(mine, runs[nginx]), 2),
            spread((r.cpu_per_gb for r in mine), 3),
            spread(ratios(mine, runs[nginx], "cpu_per_gb"), 2),
            spread((r.p50_ms for r in mine), 2),
            spread((r.p99_ms for r in mine), 2),
            *core_cells(mine),
        ])
    return "\n\n".join([table(heads, rows), *caution(runs)])
