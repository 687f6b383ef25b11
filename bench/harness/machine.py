"""The machine and the tools: which there are, and which have to come."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys

from pathlib import Path

#: The programs that most sections need, and the packages of Debian that have them.
TOOLS = {"nginx": "nginx", "wrk": "wrk"}

#: What is measured runs on the first core; the load, the CDN and storage on the second.
MEASURED_CORE = 0
LOAD_CORE = 1


class Unfit(Exception):
    """The benchmark cannot run, or what it measured does not count. The text says why."""


def prepare():
    """Checks the cores, and has the tools that most sections need."""
    if not hasattr(os, "sched_setaffinity"):
        raise Unfit("pinning to cores and /proc are needed: run this on Linux")
    if not {MEASURED_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise Unfit(f"cores {MEASURED_CORE} and {LOAD_CORE} must be available to this process")
    # Debian has nginx where only root looks.
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    need(TOOLS)


def need(tools):
    """Has these programs, by the packages of Debian that they come in: installs missing ones where that is
    possible."""
    packages = sorted({package for tool, package in tools.items() if not shutil.which(tool)})
    if not packages:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Unfit(f"install {' and '.join(packages)} (Debian: apt-get install {' '.join(packages)})")
    # A service that starts by itself would only take a port: on this runlevel none does.
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive", RUNLEVEL="1")
    install = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if subprocess.run(install, env=environment, stdout=subprocess.DEVNULL).returncode != 0:
        raise Unfit(f"apt-get could not install {' and '.join(packages)}: try apt-get update")


def weed():
    """The SeaweedFS program, or None."""
    for path in (os.environ.get("SAFELIGHT_TEST_WEED"), repository() / ".peers/venv/bin/weed"):
        if path and Path(path).is_file():
            return Path(path)
    return None


def require_weed():
    """Sees to it that SeaweedFS is there."""
    if weed():
        return
    if subprocess.run([repository() / "tests/peers"], stdout=subprocess.DEVNULL).returncode != 0 or not weed():
        raise Unfit("there is no SeaweedFS: run tests/peers, or name the program in SAFELIGHT_TEST_WEED")


def repository():
    return Path(__file__).resolve().parents[2]


def description():
    """What the results depend on."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
    }


#: How the programs say their version: those that are there are part of every result.
VERSIONS = {
    "rustc": ["rustc", "--version"],
    "Python": [sys.executable, "--version"],
    "nginx": ["nginx", "-v"],
    "wrk": ["wrk", "-v"],
    "Varnish": ["varnishd", "-V"],
    "Node": ["node", "--version"],
}


def versions():
    """The versions of all programs that take part, by name."""
    commands = dict(VERSIONS)
    if weed():
        commands["SeaweedFS"] = [str(weed()), "version"]
    found = {name: _version(_first_line(command)) for name, command in commands.items()}
    found |= _packages()
    return {name: version for name, version in found.items() if version}


def _packages():
    """The versions of the peers that come from package registries: always these. Without what one of them
    is only started with."""
    folder = repository() / "bench/peers"
    npm = json.loads((folder / "package.json").read_text())["dependencies"]
    python = (folder / "requirements.txt").read_text().split()
    npm = {name: version for name, version in npm.items() if name.startswith("@")}
    return {**npm, **dict(line.split("==") for line in python)}


def commit():
    """What is checked out, and whether something has changed since that matters here."""
    git = ["git", "-C", str(repository())]
    changed = _first_line([*git, "status", "--porcelain", "--", ".", ":!bench/results", ":!bench/RESULTS.md"])
    return _first_line([*git, "rev-parse", "--short", "HEAD"]), bool(changed)


def _version(line):
    found = re.search(r"\d+(\.\d+)+", line)
    return found[0] if found else ""


def _cpu_model():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _first_line(command):
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except OSError:
        return ""
    lines = (ran.stdout + ran.stderr).strip().splitlines()
    return lines[0] if lines else ""
