"""What it costs to sign one upload: the gateway's way beside the least that it could cost, and beside what
others have made of it, in Rust, Python and JavaScript."""

import hashlib
import hmac
import json
import os
import subprocess
import urllib.parse

from . import peers
from .machine import MEASURED_CORE, Unfit, repository
from .outcome import Column, Judged, Outcome, Spread, Table
from .peers import CREDENTIALS, SCRIPTS
from .servers import SECRET_ACCESS_KEY, build_bench

_BOTO3, _NODE = "boto3 generate_presigned_url", "AWS SDK for JavaScript getSignedUrl"
_GOOGLE = "google-cloud-storage generate_signed_url (Python)"


def run(binaries, work, options, say):
    key_file = repository() / "tests/keys/service-account.json"
    python = peers.python()
    ours = [build_bench("signing"), "--json"]
    scripts = {
        _BOTO3: [python, "-B", SCRIPTS / "sign_s3.py", options.seconds],
        _NODE: ["node", peers.node() / "sign_s3.mjs", options.seconds],
        _GOOGLE: [python, "-B", SCRIPTS / "sign_gcs.py", options.seconds, key_file],
    }
    programs = {"": ours, **scripts}
    rounds = []
    for turn in range(options.rounds):
        order = list(programs)
        order = order[turn % len(order):] + order[:turn % len(order)]
        said = {name: _run(programs[name]) for name in order}
        for name in (_BOTO3, _NODE):
            check(said[name]["url"])
        s3, gcs = (dict(said[""][kind]) for kind in ("s3", "gcs"))
        s3 |= {name: said[name]["us"] for name in (_BOTO3, _NODE)}
        gcs[_GOOGLE] = said[_GOOGLE]["us"]
        rounds.append((s3, gcs))
        say(f"  {turn + 1}/{options.rounds} " + ", ".join(f"{name} {us:.1f} µs" for name, us in s3.items()))
    of_s3, of_gcs = ([one[kind] for one in rounds] for kind in (0, 1))
    chain, sign = _named(of_s3, "(a)"), _named(of_s3, "(b)")
    raw, put = _named(of_gcs, "(e)"), _named(of_gcs, "(f)")
    return Outcome("Signing", [
        "One upload at a time, on one core, without a network: medians of batches. README.md has what (a) to (f) "
        "are. The URLs of all for S3 and for Google are checked by their signatures.",
        _table("one upload URL for S3", of_s3, chain, sign, "signing.s3"),
        Judged("signing.s3", _ratios(of_s3, sign, chain)),
        _table("one upload URL for Google Cloud Storage", of_gcs, raw, put, "signing.gcs", is_rate=True),
        Judged("signing.gcs", _ratios(of_gcs, raw, put)),
    ])


def _run(command):
    command = ["taskset", "-c", str(MEASURED_CORE), *map(str, command)]
    environment = dict(os.environ, **CREDENTIALS)
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    if ran.returncode != 0:
        raise Unfit(f"{command[3:]} failed: {ran.stdout}{ran.stderr}")
    return json.loads(ran.stdout.strip().splitlines()[-1])


def _named(rounds, mark):
    [name] = [name for name in rounds[0] if name.startswith(f"{mark} ")]
    return name


def _ratios(rounds, name, over):
    return Spread.of(one[name] / one[over] for one in rounds)


def _table(head, rounds, floor, own, goal, is_rate=False):
    """All ways, beside the floor by their time, or by their rate."""
    of_floor = Column(f"time of {floor[:3]}", digits=2, peer=floor, drawn=True, is_log=True, goal=goal)
    if is_rate:
        of_floor = Column(f"rate of {floor[:3]}", share=True, peer=floor, drawn=True, goal=goal)
    table = Table(head, [
        Column("µs", digits=2),
        of_floor,
        Column(f"time of {own[:3]}", digits=1, peer=own),
    ])
    for name in rounds[0]:
        took = Spread.of(one[name] for one in rounds)
        beside = _ratios(rounds, floor, name) if is_rate else _ratios(rounds, name, floor)
        table.add(name, took, beside, _ratios(rounds, name, own))
    return table


def check(url):
    """That a URL for S3 has the signature of its own request, by our own account of Signature Version 4."""
    parts = urllib.parse.urlsplit(url)
    query = sorted(one for one in parts.query.split("&") if not one.startswith("X-Amz-Signature="))
    said = dict(urllib.parse.parse_qsl(parts.query))
    if said["X-Amz-SignedHeaders"] != "content-type;host":
        raise Unfit(f"a peer signs other headers: {said['X-Amz-SignedHeaders']}")
    head = f"content-type:image/jpeg\nhost:{parts.netloc}\n\ncontent-type;host\nUNSIGNED-PAYLOAD"
    request = f"PUT\n{parts.path}\n{'&'.join(query)}\n{head}"
    scope = said["X-Amz-Credential"].split("/")[1:]
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{said['X-Amz-Date']}\n{'/'.join(scope)}\n{digest}"
    key = f"AWS4{SECRET_ACCESS_KEY}".encode()
    for step in (*scope, text):
        key = hmac.digest(key, step.encode(), "sha256")
    if key.hex() != said["X-Amz-Signature"]:
        raise Unfit(f"a peer's URL has another signature than its request: {parts.netloc}{parts.path}")
