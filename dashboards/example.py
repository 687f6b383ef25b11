#!/usr/bin/env python3
"""Makes the pictures in docs/: ten minutes of `safelight dev` under traffic, three of them with a CDN
that is silent, and a few bodies that break off; watched by a Prometheus and drawn by render.py.

    cargo build && dashboards/example.py

Needs prometheus on the PATH. Python 3.9, nothing else. Load goes to 127.0.0.1 only."""

import argparse
import contextlib
import http.client
import json
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).parent.parent
SCRAPE = 5
#: In seconds from the start: when the CDN falls silent and comes back, when bodies break off, the end.
SILENT, BACK, BREAKS, END = 200, 380, 470, 600
OBJECTS, READS_PER_SECOND, UPLOADS_PER_SECOND = 150, {"shop": 16, "blog": 6}, 0.7

APP = """AllowPublicUpload = true
CloudFrontURL = "http://{cdn}"
[Storage]
Kind = "embedded"
Bucket = "media"
KeyPrefix = "{app}/"
[Read]
MemoryCacheMaxObject = "{memory}"
[RateLimit]
PerOwner = {{ Rate = "600/m", Burst = 1000 }}
"""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def call(method, url, body=None, headers=None):
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, url[len(f"http://{parts.netloc}"):], body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()


class Gateway:
    def __init__(self, address, photo):
        self.base, self.photo = f"http://{address}", photo

    def upload(self, app, owner):
        """Asks, puts, finalizes; the path of the image."""
        headers = {"X_Owner_Id": owner, "Content-Type": "application/json"}
        status, text = call("POST", f"{self.base}/darkroom/{app}/v1/images/presigned-urls",
                            json.dumps({"file": "photo.jpg"}), headers)
        if status != 200:
            return None
        data = json.loads(text)["data"]
        call("PUT", data["uploadURL"], self.photo, data["headers"])
        call("POST", data["finalizeURL"])
        return data["publicURL"]


def every(seconds, until, do):
    """Does something at a steady pace, each time in a thread of its own."""
    due = time.monotonic()
    while due < until:
        time.sleep(max(0, due - time.monotonic()))
        threading.Thread(target=quietly, args=(do,), daemon=True).start()
        due += random.expovariate(1 / seconds)


def quietly(do):
    # Some connections break on purpose.
    with contextlib.suppress(OSError, http.client.HTTPException):
        do()


def wait_for(url):
    for _ in range(600):
        with contextlib.suppress(OSError):
            if call("GET", url)[0] == 200:
                return
        time.sleep(0.1)
    sys.exit(f"nothing answers at {url}")


def faults(cdn, *orders):
    call("DELETE", f"http://{cdn}/_faults")
    for order in orders:
        call("POST", f"http://{cdn}/_faults", json.dumps(order))


@contextlib.contextmanager
def running(*command, log):
    with open(log, "wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


def traffic(gateway, cdn):
    """Uploads and reads until the end, and what befalls the CDN meanwhile."""
    images = {app: [gateway.upload(app, f"owner-{n % 40}") for n in range(OBJECTS)] for app in READS_PER_SECOND}
    begun = time.monotonic()
    end = begun + END

    def read(app):
        url = random.choice(images[app])
        headers = {"Range": "bytes=0-4095"} if random.random() < 0.1 else {}
        call("GET", url, headers=headers)

    def upload():
        app = random.choice(list(images))
        if random.random() < 0.1:
            call("POST", f"{gateway.base}/darkroom/{app}/v1/images/presigned-urls", '{"file": "a.exe"}',
                 {"X_Owner_Id": "owner-x", "Content-Type": "application/json"})
            return
        images[app].append(gateway.upload(app, f"owner-{random.randrange(40)}"))

    jobs = [(1 / rate, lambda app=app: read(app)) for app, rate in READS_PER_SECOND.items()]
    jobs.append((1 / UPLOADS_PER_SECOND, upload))
    threads = [threading.Thread(target=every, args=(pace, end, do)) for pace, do in jobs]
    for thread in threads:
        thread.start()
    for at, orders in [
        (SILENT, [{"fault": "silence"}]),
        (BACK, []),
        (BREAKS, [{"fault": "truncate", "after": 3000, "count": 25}, {"fault": "status", "status": 503, "count": 25}]),
    ]:
        time.sleep(max(0, begun + at - time.monotonic()))
        faults(cdn, *orders)
    for thread in threads:
        thread.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--safelight", default=ROOT / "target/debug/safelight", help="the program")
    parser.add_argument("--prometheus", default="prometheus", help="the program")
    options = parser.parse_args()
    gateway, admin, store, cdn, prometheus = (f"127.0.0.1:{free_port()}" for _ in range(5))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "data/apps.d").mkdir(parents=True)
        for app, memory in [("shop", "256KiB"), ("blog", "0B")]:
            (folder / f"data/apps.d/{app}.toml").write_text(APP.format(app=app, cdn=cdn, memory=memory))
        rules = ROOT / "dashboards/rules/*.yml"
        (folder / "prometheus.yml").write_text(
            f"global: {{scrape_interval: {SCRAPE}s}}\nrule_files: ['{rules}']\n"
            f"scrape_configs: [{{job_name: safelight, static_configs: [{{targets: ['{admin}']}}]}}]\n")
        dev = [options.safelight, "dev", "--data-dir", folder / "data", "--listen", gateway, "--admin-listen", admin,
               "--store-listen", store, "--cdn-listen", cdn]
        watch = [options.prometheus, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
                 f"--web.listen-address={prometheus}"]
        with running(*dev, log=folder / "dev.log"), running(*watch, log=folder / "prometheus.log"):
            wait_for(f"http://{admin}/readyz")
            wait_for(f"http://{prometheus}/-/ready")
            traffic(Gateway(gateway, (folder / "data/photo.jpg").read_bytes()), cdn)
            draw = [sys.executable, ROOT / "dashboards/render.py", "--prometheus", f"http://{prometheus}",
                    "--minutes", str((END - 30) / 60), "--scrape", str(SCRAPE), "--app", "shop|blog"]
            subprocess.run([*draw, "--rows", "At a glance", "--rows", "Reads", "--out", ROOT / "docs/overview.svg"], check=True)
            subprocess.run([*draw, "--rows", "Uploads", "--rows", "Storage", "--rows", "Memory", "--rows", "Records",
                            "--rows", "Gateway", "--skip-empty", "--out", ROOT / "docs/overview-more.svg"], check=True)


if __name__ == "__main__":
    main()
