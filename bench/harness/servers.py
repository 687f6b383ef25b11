"""The programs of a measurement: gateway, the nginx beside it, CDN, storage."""

import functools
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.parse

from dataclasses import dataclass
from pathlib import Path

from . import machine
from .machine import LOAD_CORE, MEASURED_CORE, Unfit
from .processes import free_ports, listens, start, wait_for

_CONF = Path(__file__).resolve().parents[1] / "conf"

#: SeaweedFS derives the port of each gRPC service from the HTTP one.
_GRPC_OFFSET = 10000

#: How a gateway logs: to a file, to nowhere, or without its line for each request.
LOGGING = {"log to a file": "info", "log to /dev/null": "info", "no access log": "warn"}

#: What SeaweedFS and everything that signs for it have in common.
ACCESS_KEY_ID, SECRET_ACCESS_KEY = "AKIDSAFELIGHTBENCH", "a-secret-of-the-benchmark-only"

#: The highest limits that exist, so that they are checked and never bite.
_NO_LIMITS = """
PerOwner = { Rate = "1000000/s", Burst = 100000000 }
PerApp = { Rate = "1000000/s", Burst = 100000000 }
"""


def _filled(template, **values):
    text = (_CONF / template).read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def fill(template, target, **values):
    target.write_text(_filled(template, **values))
    return target


def app_file(cdn_url, s3_url, bucket, read="", limits=_NO_LIMITS):
    """The file of a measured app."""
    if "MemoryCacheMaxObject" not in read:
        # Most measurements are of the sources.
        read += '\nMemoryCacheMaxObject = "0B"\n'
    values = {"CDN_URL": cdn_url, "S3_URL": s3_url, "BUCKET": bucket, "READ": read, "LIMITS": limits}
    keys = {"ACCESS_KEY_ID": ACCESS_KEY_ID, "SECRET_ACCESS_KEY": SECRET_ACCESS_KEY}
    return _filled("app.toml", **values, **keys)


@dataclass
class Nginx:
    process: object
    port: int
    scheme: str = "http"

    @classmethod
    def start(cls, template, core, work, scheme="http", **values):
        [port] = free_ports(1)
        name = template.partition(".")[0]
        config = fill(template, work / template, DIR=work, PORT=port, **values)
        # As root its worker would become a user who may not read the folder.
        user = ["-g", "user root;"] if os.geteuid() == 0 else []
        log = work / f"{name}.log"
        process = start(["nginx", "-e", log, "-c", config, *user], core, log)
        wait_for(lambda: listens(port), process, f"nginx ({name})", log)
        return cls(process, port, scheme)

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"


def start_cdn(work):
    (work / "objects/images").mkdir(parents=True, exist_ok=True)
    return Nginx.start("cdn.nginx.conf", LOAD_CORE, work)


#: Buffers of nginx for a connection to an upstream: for speed, and as they come.
LARGE_BUFFERS = "proxy_buffers 16 64k; proxy_buffer_size 64k;"
OWN_BUFFERS = "proxy_buffers 8 4k; proxy_buffer_size 4k;"


def start_peer(work, cdn, buffers=LARGE_BUFFERS):
    return Nginx.start("peer.nginx.conf", MEASURED_CORE, work, CDN_PORT=cdn.port, BUFFERS=buffers)


@dataclass
class FaultyCdn:
    """See `faulty_cdn.py`."""

    process: object
    port: int
    control_port: int
    folder: Path

    @classmethod
    def start(cls, work):
        folder = work / "objects"
        (folder / "images").mkdir(parents=True, exist_ok=True)
        port, control_port = free_ports(2)
        log = work / "faulty-cdn.log"
        command = [sys.executable, _CONF.parent / "faulty_cdn.py", folder, port, control_port]
        process = start(command, LOAD_CORE, log)
        wait_for(lambda: listens(control_port), process, "the faulty CDN", log)
        return cls(process, port, control_port, folder)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def put(self, key, content):
        (self.folder / "images" / key).write_bytes(content)

    def mode(self, mode):
        status, _, _ = request(self.control_port, "GET", f"/{mode}")
        if status != 200:
            raise Unfit(f"the faulty CDN does not become {mode}")


@dataclass
class Gateway:
    process: object
    port: int
    admin_port: int

    @classmethod
    def start(
        cls,
        binary,
        work,
        name,
        cdn=None,
        s3_url="http://127.0.0.1:9",
        logging="log to a file",
        records=None,
        read="",
        limits=_NO_LIMITS,
        apps=None,
        environment=None,
        prepare=None,
        has_admin=True,
    ):
        """A gateway with two apps: `shop` with the CDN (if there is one), `plain` without. Its
        database is `records`, which moves, if there is one. `read` is more of the `[Read]` section
        of `shop`, `limits` the `[RateLimit]` section of both. `apps` are more files of apps, by name,
        and `prepare` puts into its folder what else they need. `unrecorded` has no admin listener."""
        folder = work / name.replace(" ", "-").replace("/", "")
        (folder / "apps.d").mkdir(parents=True)
        if records:
            records.rename(folder / "safelight.db")
        port, admin_port = free_ports(2)
        settings = fill(
            "safelight.toml", folder / "safelight.toml", DIR=folder, PORT=port, ADMIN_PORT=admin_port
        )
        for app, url in (("shop", cdn.url if cdn else ""), ("plain", "")):
            text = app_file(url, s3_url, f"media-{app}", read if app == "shop" else "", limits)
            (folder / f"apps.d/{app}.toml").write_text(text)
        for app, text in (apps or {}).items():
            (folder / f"apps.d/{app}.toml").write_text(text)
        if prepare:
            prepare(folder)
        log = Path("/dev/null") if logging == "log to /dev/null" else folder / "log"
        environment = {"SAFELIGHT_LOG": LOGGING[logging], **(environment or {})}
        command = [binary, "serve", "--config", settings]
        process = start(command, MEASURED_CORE, log, environment)
        wait_for(lambda: listens(admin_port if has_admin else port), process, "the gateway", log)
        return cls(process, port, admin_port)

    def presign(self, app="shop", owner="owner-0"):
        """Asks for an upload; the data of the answer."""
        body = json.dumps({"file": "Holiday photo.jpg"})
        path = f"/darkroom/{app}/v1/images/presigned-urls"
        headers = {"X_Owner_Id": owner, "Content-Type": "application/json"}
        status, _, answer = request(self.port, "POST", path, body, headers)
        if status != 200:
            raise Unfit(f"the gateway grants no upload: {status} {answer[:300]!r}")
        return json.loads(answer)["data"]

    def metrics(self):
        """All series, as a dictionary from the printed series to its value."""
        status, _, text = request(self.admin_port, "GET", "/metrics")
        if status != 200:
            raise Unfit(f"the gateway's metrics answer {status}")
        lines = [line for line in text.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def total(self, metric, *labels):
        """The sum of a metric over its series that have all of these labels."""
        series = self.metrics().items()
        mine = (v for s, v in series if re.match(rf"{metric}(\{{|$)", s) and all(l in s for l in labels))
        return sum(mine)

    def path_of(self, key, app="shop"):
        return f"/darkroom/{app}/v2/images/{key}"


@dataclass
class Seaweed:
    process: object
    url: str
    metrics_port: int

    @classmethod
    def start(cls, work, core):
        weed = machine.weed()
        folder = work / "seaweed"
        folder.mkdir()
        master, volume, filer, s3, admin, metrics = free_ports(6, _GRPC_OFFSET)
        identity = {
            "name": "bench",
            "credentials": [
                {"accessKey": ACCESS_KEY_ID, "secretKey": SECRET_ACCESS_KEY}
            ],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        settings = folder / "s3.json"
        settings.write_text(json.dumps({"identities": [identity]}))
        command = [weed, "-logtostderr=true", "mini", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        command += [f"-dir={folder}", f"-s3.config={settings}", "-bucket=media-plain,media-shop"]
        command += [f"-s3.localSocket={folder}/s3.sock", f"-filer.localSocket={folder}/filer.sock"]
        command += [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"]
        command += [f"-s3.port={s3}", f"-admin.port={admin}", "-s3.port.iceberg=0"]
        command += ["-s3.port.lance=0", "-webdav=false", "-admin.ui=false"]
        command += ["-master.telemetry=false", "-s3.autoCreateBucket=false", f"-metricsPort={metrics}"]
        log = folder / "log"
        process = start(command, core, log)
        wait_for(lambda: listens(s3), process, "SeaweedFS", log, seconds=60)
        return cls(process, f"http://127.0.0.1:{s3}", metrics)

    def wait_for_buckets(self, gateway):
        """It listens before its buckets are there."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                grants = [gateway.presign(app) for app in ("plain", "shop")]
                if all(put(grant, lambda: open(os.devnull, "rb"), 0) == 200 for grant in grants):
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise Unfit("SeaweedFS takes no upload within a minute")

    def gets(self):
        """How many objects have been asked for through S3."""
        status, _, text = request(self.metrics_port, "GET", "/metrics")
        if status != 200:
            raise Unfit(f"SeaweedFS's metrics answer {status}")
        series = re.findall(r"^SeaweedFS_s3_request_total{([^}]*)} (\S+)$", text.decode(), re.M)
        return sum(float(value) for labels, value in series if 'type="GET"' in labels)


def put(grant, open_body, size):
    """The upload that a grant asks for; the status of the answer."""
    url = urllib.parse.urlsplit(grant["uploadURL"])
    headers = dict(grant["headers"], **{"Content-Length": str(size)})
    with open_body() as body:
        path = f"{url.path}?{url.query}"
        return request(url.port, "PUT", path, body, headers, timeout=300)[0]


def request(port, method, path, body=None, headers=None, timeout=30):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def build():
    """Builds the gateway; the path of the program."""
    return _build("--bin", "safelight")


@functools.cache
def build_bench(name):
    """Builds a program of the benchmark; its path."""
    return _build("--bench", name)


def _build(kind, name):
    if not shutil.which("cargo"):
        raise Unfit("there is no cargo: install Rust, or name a built program with --binary")
    command = ["cargo", "build", "--release", "--locked", kind, name]
    command += ["--message-format=json-render-diagnostics"]
    ran = subprocess.run(command, cwd=machine.repository(), stdout=subprocess.PIPE, text=True)
    if ran.returncode != 0:
        raise Unfit(f"{name} does not build")
    for message in map(json.loads, ran.stdout.splitlines()):
        if message.get("executable") and message["target"]["name"] == name:
            return Path(message["executable"])
    raise Unfit(f"cargo does not say where {name} is")
