"""What others have made, beside which the gateway is measured, and how it comes here: into `.peers/`, at the
versions that `bench/peers/` names. And the floor, which is the least that anybody could make."""

import json
import shutil
import subprocess
import sys

from dataclasses import dataclass
from pathlib import Path

from . import machine
from .machine import MEASURED_CORE, Unfit
from .processes import free_ports, listens, start, wait_for
from .servers import ACCESS_KEY_ID, SECRET_ACCESS_KEY, build_bench, fill, request

#: The scripts, and which packages they need.
SCRIPTS = Path(__file__).resolve().parents[1] / "peers"

#: What every SDK finds by itself.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": ACCESS_KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY}

#: What an answer has of the connection and of the moment, and not of what was asked for.
_NOT_OF_THE_ANSWER = {"connection", "content-length", "date", "keep-alive", "transfer-encoding"}


def node():
    """A folder with the scripts for Node, among the packages that they need."""
    machine.need({"node": "nodejs", "npm": "npm"})
    folder = machine.repository() / ".peers/bench-node"
    folder.mkdir(parents=True, exist_ok=True)
    install = ["npm", "ci", "--engine-strict", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    if not _is_installed(folder, SCRIPTS / "package-lock.json"):
        for name in ("package.json", "package-lock.json"):
            shutil.copy(SCRIPTS / name, folder)
        _install(install, folder, SCRIPTS / "package-lock.json")
    # A module finds its packages by where it lies.
    for script in SCRIPTS.glob("*.mjs"):
        shutil.copy(script, folder)
    return folder


def python():
    """A Python with the packages that the scripts need."""
    folder = machine.repository() / ".peers/bench-venv"
    program, wanted = folder / "bin/python", SCRIPTS / "requirements.txt"
    if not _is_installed(folder, wanted):
        if subprocess.run([sys.executable, "-m", "venv", folder]).returncode != 0:
            raise Unfit("there is no venv for Python (Debian: apt-get install python3-venv)")
        install = [program, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted]
        _install(install, folder, wanted)
    return program


def _is_installed(folder, wanted):
    stamp = folder / ".installed"
    return stamp.is_file() and stamp.read_text() == wanted.read_text()


def _install(command, folder, wanted):
    if subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL).returncode != 0:
        raise Unfit(f"the peers in {wanted} cannot be installed")
    (folder / ".installed").write_text(wanted.read_text())


@dataclass
class Peer:
    process: object
    port: int

    @classmethod
    def start(cls, command, name, work, environment=None):
        """Starts a program that listens on a port, which stands for PORT in its command."""
        [port] = free_ports(1)
        log = work / f"{name}.log"
        command = [part.replace("PORT", str(port)) for part in map(str, command)]
        process = start(command, MEASURED_CORE, log, environment)
        wait_for(lambda: listens(port), process, name, log)
        return cls(process, port)


def start_companion(work, s3_url):
    """Uppy Companion, before this storage."""
    command = ["node", node() / "companion.mjs", "PORT", s3_url, work]
    return Peer.start(command, "companion", work, {"NODE_ENV": "production", **CREDENTIALS})


def start_presigner(work, s3_url):
    """A server of a few lines around the presigner of the AWS SDK for JavaScript."""
    command = ["node", node() / "presigner.mjs", "PORT", s3_url]
    return Peer.start(command, "presigner", work, {"NODE_ENV": "production", **CREDENTIALS})


def start_varnish(work, cdn):
    """Varnish before this CDN: see `conf/varnish.vcl`."""
    machine.need({"varnishd": "varnish"})
    settings = fill("varnish.vcl", work / "varnish.vcl", CDN_PORT=cdn.port)
    (work / "varnish").mkdir()
    # In the foreground and as who starts it; no port for commands. One pool of threads for one core, as many
    # as there are ever clients, and little room for a log that nobody reads.
    command = ["varnishd", "-F", "-j", "none", "-T", "none", "-a", "127.0.0.1:PORT", "-f", settings]
    command += ["-n", work / "varnish", "-s", "malloc,256m", "-l", "1m"]
    command += ["-p", "thread_pools=1", "-p", "thread_pool_min=600", "-p", "http_gzip_support=off"]
    return Peer.start(command, "varnish", work)


def start_floor(work, name, answers):
    """`floor.rs` with these answers, by what is asked for."""
    written = {}
    for kind, answer in answers.items():
        body = work / f"{name}-{kind}"
        body.write_bytes(answer["body"])
        written[kind] = {**answer, "body": str(body)}
    path = work / f"{name}.json"
    path.write_text(json.dumps(written))
    return Peer.start([build_bench("floor"), "PORT", path], name, work)


def start_answerer(work, name, answer):
    """`answerer.rs` with this answer, whatever is asked."""
    head, body = work / f"{name}-head", work / f"{name}-body"
    lines = [f"HTTP/1.1 {answer['status']} ready", *map(": ".join, answer["headers"])]
    if answer["status"] != 304:
        lines.append(f"content-length: {len(answer['body'])}")
    head.write_text("\r\n".join([*lines, "", ""]))
    body.write_bytes(answer["body"])
    return Peer.start([build_bench("answerer"), "PORT", head, body], name, work)


def start_relay(work, cdn):
    """`relay.rs` before this CDN."""
    return Peer.start([build_bench("relay"), "PORT", cdn.port], "relay", work)


def answer_of(port, method, path, body=None, headers=None):
    """What a program answers, for the floor to answer the same."""
    status, found, body = request(port, method, path, body, headers)
    kept = [[name, value] for name, value in found.items() if name.lower() not in _NOT_OF_THE_ANSWER]
    return {"status": status, "headers": kept, "body": body}
