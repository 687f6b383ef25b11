"""A thousand apps whose files all change at once, while one of them is read."""

import asyncio
import datetime
import json
import os
import random
import signal
import time

from pathlib import Path

from .machine import Unfit
from .outcome import Chart, Column, Judged, Outcome, Spread, Table
from .processes import cpu_seconds
from .reads import TAIL, at_rate, on_load_core, percentile, tail
from .servers import Gateway, request, start_cdn

APPS = 1000
RATE = 300
OBJECTS, SIZE = 20, 10 * 1024
#: In seconds: how long the reads go on, and when the files change.
SECONDS, CHANGES = 20, (4, 8, 12, 16)
#: How long the gateway is watched while nothing happens, in seconds.
IDLE = 10
#: What counts as a pause, beyond the median of reads without a reload, in seconds.
PAUSE = 0.025
#: How long the gateway needs until it has read files a second time that have changed, in seconds: the
#: next change is not to meet that.
REST = 3.5
#: How long after the signal a read may have been touched by the reload, in seconds.
TOUCHED = 1.5

_APP = """AllowPublicUpload = true
[Storage]
Kind = "s3"
Bucket = "media-{number}"
Endpoint = "http://127.0.0.1:9"
AccessKeyID = "AKIDSAFELIGHTBENCH"
SecretAccessKey = "a-secret-of-the-benchmark-only"
[Upload]
MaxBytes = {limit}
"""


def run(binaries, work, options, say):
    cdn = start_cdn(work)
    gateway = Gateway.start(binaries["gateway"], work, "reload", cdn)
    folder = work / "reload"
    paths = publish(gateway, work)
    files = Files(folder / "apps.d")
    log = Log(folder / "log")

    say(f"reload: {APPS} new apps")
    files.publish(1)()
    wait_for_apps(gateway)
    say(f"reload: {len(CHANGES)} times {APPS} changed files, under {RATE} reads a second")
    changed = []

    async def change():
        version = len(changed) + 2
        changed.append(await asyncio.to_thread(reload, gateway, log, lambda: files.publish(version), "ok"))

    with on_load_core() as cores:
        reads, _ = asyncio.run(at_rate(gateway.port, paths, RATE, SECONDS, [(at, change) for at in CHANGES]))
    reads = [read for _, read in reads]
    times = {f"{APPS:,} changed files": changed, "one changed file": [], "nothing changed": []}
    for turn in range(5):
        time.sleep(REST)
        one = reload(gateway, log, lambda: files.change(0, 100 + turn), "ok")
        times["one changed file"].append(one)
        time.sleep(REST)
        times["nothing changed"].append(reload(gateway, log, lambda: None, "unchanged"))
    say(f"reload: {IDLE} s of nothing")
    cpu = cpu_seconds(gateway.process)
    time.sleep(IDLE)
    looking = (cpu_seconds(gateway.process) - cpu) / IDLE
    return Outcome("Reload", [*_report(times, reads, looking), str(cores)])


class Files:
    """The files of the apps, as Kubernetes mounts them: all change in one moment."""

    def __init__(self, folder):
        self.folder = folder

    def publish(self, version):
        version_folder = self.folder / f"..v{version}"
        version_folder.mkdir()
        for number in range(APPS):
            text = _APP.format(number=number, limit=(1 << 20) + version)
            (version_folder / f"app-{number}.toml").write_text(text)
        link = self.folder / "..data_tmp"
        link.symlink_to(version_folder.name)
        return lambda: self._swap(link)

    def _swap(self, link):
        is_first = not (self.folder / "..data").exists()
        link.rename(self.folder / "..data")
        if is_first:
            for number in range(APPS):
                (self.folder / f"app-{number}.toml").symlink_to(f"..data/app-{number}.toml")

    def change(self, number, version):
        text = _APP.format(number=number, limit=(1 << 20) + version)
        next_file = self.folder / ".next"
        next_file.write_text(text)
        return lambda: next_file.rename(self.folder / f"app-{number}.toml")


class Log:
    """What the gateway says, from one reload to the next."""

    def __init__(self, path):
        self.path, self.read = path, 0

    def skip(self):
        self.read = self.path.stat().st_size

    def wait_for_reload(self, outcome, seconds=60):
        """When the next reload was done, as the gateway's clock has it, in seconds since 1970."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with self.path.open("rb") as log:
                log.seek(self.read)
                for line in log:
                    if not line.endswith(b"\n"):
                        break
                    self.read += len(line)
                    event = json.loads(line)
                    if event.get("message") == "the apps' files were read":
                        if event["outcome"] != outcome:
                            raise Unfit(f"void: a reload came to {event['outcome']}")
                        stamp = event["timestamp"].replace("Z", "+00:00")
                        return datetime.datetime.fromisoformat(stamp).timestamp()
            time.sleep(0.002)
        raise Unfit("void: the gateway does not reload")


def reload(gateway, log, prepare, outcome):
    """Changes files in one step and has them read: the seconds until all is in force, and those of CPU
    that the gateway took meanwhile."""
    commit = prepare()
    log.skip()
    if commit:
        commit()
    begun, cpu = time.time(), cpu_seconds(gateway.process)
    os.kill(pid_of(gateway), signal.SIGHUP)
    took = log.wait_for_reload(outcome) - begun
    # Until the second reading, two seconds later, is over as well: the next change is not to meet it.
    return took, cpu_seconds(gateway.process) - cpu


def pid_of(gateway):
    """`taskset` becomes the program that it starts."""
    return gateway.process.pid


def wait_for_apps(gateway):
    """Waits until every app is live, and read a second time."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        _, _, text = request(gateway.admin_port, "GET", "/apps")
        if sum(app["state"] == "live" for app in json.loads(text)) == APPS + 2:
            return time.sleep(REST)
        time.sleep(0.2)
    raise Unfit("void: the apps do not come")


def publish(gateway, work):
    """Objects at the CDN; their paths."""
    content = random.Random(1).randbytes(SIZE)
    keys = [gateway.presign("shop")["key"] for _ in range(OBJECTS)]
    for key in keys:
        (Path(work) / "objects/images" / key).write_bytes(content)
    return [gateway.path_of(key, "shop") for key in keys]


def _report(times, reads, looking):
    touched = [read for read in reads if any(at <= read.due < at + TOUCHED for at in CHANGES)]
    calm = [read for read in reads if 1 <= read.due < CHANGES[0] - 1]
    median = percentile([read.took for read in calm], 0.5)
    changes = Table("", [Column("times"), Column("ms until in force", drawn=True), Column("CPU ms")])
    for name, mine in times.items():
        took, cpu = (Spread.of(one[at] * 1e3 for one in mine) for at in (0, 1))
        changes.add(name, len(mine), took, cpu)
    slowest = max(took for took, _ in times[f"{APPS:,} changed files"])
    return [
        f"{APPS:,} apps beside the one that is read. All files change in one moment, by the swap of a "
        "link, and SIGHUP has them read: from the signal until the last app is in force. The CPU time is "
        "that of the gateway, with the reads that it served meanwhile. While nothing happens, looking at "
        f"the files takes {looking:.1%} of a core.",
        changes,
        Judged("reload.time", slowest),
        f"{RATE} reads a second of {SIZE // 1024} KiB from the CDN meanwhile, each timed from when it was "
        f"due. A read is paused if it takes {PAUSE * 1e3:.0f} ms longer than the median without a reload.",
        *_latencies({"without a reload": calm, "during a reload": touched}),
        Judged("reload.errors", sum(read.status != 200 or not read.whole for read in reads)),
        Judged("reload.paused", sum(read.took - median > PAUSE for read in touched)),
    ]


def _latencies(kinds):
    table = Table("", [Column("reads"), *(Column(f"{place} ms", digits=1) for place in TAIL)])
    tails = {name: tail(mine) for name, mine in kinds.items()}
    for name, mine in kinds.items():
        table.add(name, len(mine), *(took for _, took in tails[name]))
    return table, Chart("Latency by share of reads", "", "ms", tails, places=list(TAIL), is_log=True)
