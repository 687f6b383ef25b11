"""The machine and the tools: which there are, and which have to come."""

import os
import platform
import shutil
import subprocess

from pathlib import Path

TOOLS = ("nginx", "wrk")

#: What is measured runs on the first core; the load, the CDN and storage on the second.
MEASURED_CORE = 0
LOAD_CORE = 1


class Unfit(Exception):
    """The benchmark cannot run, or what it measured does not count. The text says why."""


def prepare():
    """Checks cores and tools; installs missing tools where that is possible."""
    if not hasattr(os, "sched_setaffinity"):
        raise Unfit("pinning to cores and /proc are needed: run this on Linux")
    if not {MEASURED_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise Unfit(f"cores {MEASURED_CORE} and {LOAD_CORE} must be available to this process")
    # Debian has nginx where only root looks.
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Unfit(f"install {' and '.join(missing)} (Debian: apt-get install {' '.join(missing)})")
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    # A service that starts by itself would only take a port.
    install = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if subprocess.run(install, env=environment, stdout=subprocess.DEVNULL).returncode != 0:
        raise Unfit(f"apt-get could not install {' and '.join(missing)}: try apt-get update")


def weed():
    """The SeaweedFS program, or None."""
    for path in (os.environ.get("SAFELIGHT_TEST_WEED"), repository() / ".peers/venv/bin/weed"):
        if path and Path(path).is_file():
            return Path(path)
    return None


def repository():
    return Path(__file__).resolve().parents[2]


def description():
    """What the results depend on, as pairs."""
    return [
        ("CPU", f"{_cpu_model()}, {os.cpu_count()} cores"),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("rustc", _first_line(["rustc", "--version"])),
        ("nginx", _first_line(["nginx", "-v"])),
        ("wrk", _first_line(["wrk", "-v"])),
        ("SeaweedFS", _first_line([str(weed()), "version"]) if weed() else "none"),
        ("commit", _first_line(["git", "-C", str(repository()), "describe", "--always", "--dirty"])),
    ]


def _cpu_model():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _first_line(command):
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except OSError:
        return "unknown"
    lines = (ran.stdout + ran.stderr).strip().splitlines()
    return lines[0] if lines else "unknown"
