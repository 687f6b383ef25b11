"""A million made-up owners: what they cost in memory, and whom they get in the way of."""

import json
import subprocess

from pathlib import Path

from .machine import LOAD_CORE, Unfit
from .outcome import Column, Judged, Outcome, Table
from .processes import memory_kib
from .servers import Gateway, request

OWNERS = 1_000_000
#: How many of the known ones are asked after the flood, and how much of their quota each had used.
KNOWN, USED, BURST = 100, 5, 20
_SCRIPT = Path(__file__).resolve().parents[1] / "load.lua"
_ROUTE = "/darkroom/shop/v1/images/presigned-urls"
#: From any number of clients, all of whom are let in: every owner is remembered.
_OPEN = f"""
PerOwner = {{ Rate = "1/h", Burst = {BURST} }}
PerClientIP = {{ Rate = "1000000/s", Burst = 100000000 }}
PerApp = {{ Rate = "1000000/s", Burst = 100000000 }}
"""
#: The defaults, but for the owners, whose quota is not to come back meanwhile.
_USUAL = f'PerOwner = {{ Rate = "1/h", Burst = {BURST} }}'


def run(binaries, work, options, say):
    table, judged = Table("", [
        Column("made-up owners"),
        Column("requests/s"),
        Column("granted"),
        Column("refused by client_ip"),
        Column("by app"),
        Column("by owner"),
        Column("before MiB"),
        Column("highest MiB (VmHWM)"),
        Column("MiB more", digits=1, drawn=True),
    ]), []
    for name, limits, goals in (
        ("every owner is let in", _OPEN, "owners.open"),
        ("default limits", _USUAL, "owners.limits"),
    ):
        gateway = Gateway.start(
            binaries["gateway"], work, goals, limits=limits,
            environment={"SAFELIGHT__SERVER__TRUSTEDPROXIES": "['127.0.0.0/8']"},
        )
        for owner in range(KNOWN):
            for _ in range(USED):
                _ask(gateway, f"known-{owner}", f"198.51.100.{owner}")
        before, _ = memory_kib(gateway.process)
        asked, seconds = _flood(gateway, say)
        _, highest = memory_kib(gateway.process)
        granted = gateway.total("safelight_presigns_total", 'outcome="ok"') - KNOWN * USED
        refused = [
            gateway.total("safelight_rate_limited_total", f'limit="{limit}"')
            for limit in ("client_ip", "app", "owner")
        ]
        more = (highest - before) / 1024
        table.add(name, asked, asked / seconds, granted, *refused, before / 1024, highest / 1024, more,
                  goal=f"{goals}.memory")
        judged.append(Judged(f"{goals}.memory", more))
        judged.append(Judged(f"{goals}.known", _touched(gateway)))
        if limits == _USUAL:
            # The default: 120 a minute, and 60 at once.
            most = 60 + 2 * seconds + 1
            beyond = max(0, granted - most)
            judged.append(Judged(f"{goals}.granted", beyond, f"Granted: {granted:,.0f} of {most:,.0f}."))
    return Outcome("Made-up owners", [
        f"{OWNERS:,} upload requests or more, each of another owner, by one client; before and after, {KNOWN} "
        "owners who are known, each from an address of its own.",
        table,
        *judged,
    ])


def _touched(gateway):
    """How many of the known owners have not the quota that they had left."""
    left = [_ask(gateway, f"known-{owner}", f"198.51.100.{owner}") for owner in range(KNOWN)]
    return sum(rest != BURST - USED - 1 for rest in left)


def _ask(gateway, owner, address):
    """Asks for an upload; how many more this owner may ask for."""
    headers = {"X_Owner_Id": owner, "X-Forwarded-For": address}
    status, headers, answer = request(gateway.port, "POST", _ROUTE, '{"file":"a.jpg"}', headers)
    if status != 200:
        raise Unfit(f"{owner} is refused: {status} {answer[:300]!r}")
    [item] = [item for item in headers["RateLimit"].split(", ") if item.startswith('"owner"')]
    return int(item.split(";r=")[1].split(";")[0])


def _flood(gateway, say):
    """Rounds of wrk until there were as many owners; how many, in how many seconds."""
    asked = seconds = 0
    while asked < OWNERS:
        url = f"http://127.0.0.1:{gateway.port}{_ROUTE}"
        command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", "-c64", "-d10s", "--timeout", "10s"]
        command += ["-s", str(_SCRIPT), url, "--", "owners", str(asked)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if ran.returncode != 0:
            raise Unfit(f"wrk failed: {ran.stdout}{ran.stderr}")
        seen = json.loads(ran.stdout.strip().splitlines()[-1])
        if seen["broken"] or not seen["requests"]:
            raise Unfit(f"not every request was answered: {seen}")
        asked += seen["requests"]
        seconds += seen["microseconds"] / 1e6
        say(f"  {asked:,} owners")
    return asked, seconds
