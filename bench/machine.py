"""What the figures were measured on and with."""

import datetime
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from pathlib import Path

from settings import CORES, QUICK


def describe():
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "quick": QUICK,
        "cpu": cpu(),
        "cores": CORES,
        "memory_mib": memory_mib(),
        "instructions": [name for name in ("avx2", "avx512f") if name in flags()],
        "huge_pages": {name: huge_pages(name) for name in ("enabled", "defrag", "shmem_enabled")},
        "kernel": f"{platform.system()} {platform.release()}",
        "load_before": os.getloadavg()[0],
        "versions": versions(),
    }


def cpu():
    """The kernel's name for it, and family and model, where a hypervisor hides the name."""
    info = Path("/proc/cpuinfo").read_text()
    fields = dict(re.findall(r"^(model name|cpu family|model)\s*: (.*)$", info, re.M))
    if "model name" not in fields:
        return platform.machine()
    return "{model name} (family {cpu family}, model {model})".format(**fields)


def flags():
    found = re.search(r"^flags\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    return found[1].split() if found else []


def memory_mib():
    return int(re.search(r"MemTotal: *(\d+)", Path("/proc/meminfo").read_text())[1]) // 1024


def busy_and_stolen():
    """Jiffies of all processors since the start: not idle, and taken by the host for others."""
    fields = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
    user, nice, system, _, _, irq, softirq, steal = fields
    return user + nice + system + irq + softirq + steal, steal


def huge_pages(name):
    """The setting in brackets: `always [madvise] never`."""
    try:
        text = Path("/sys/kernel/mm/transparent_hugepage", name).read_text()
    except OSError:
        return "none"
    return re.search(r"\[(.*)\]", text)[1]


def versions():
    found = {"Python": platform.python_version()}
    for name in ("argon2-cffi", "argon2-cffi-bindings", "PyNaCl", "psycopg"):
        found[name] = importlib.metadata.version(name)
    node = Path(os.environ["BENCH_NODE"])
    found["Node"] = output("node", "--version").lstrip("v")
    for name in ("argon2", "@node-rs/argon2", "pg"):
        manifest = json.loads((node / "node_modules" / name / "package.json").read_text())
        found[f"npm {name}"] = manifest["version"]
    lock = Path("Cargo.lock").read_text()
    found["RustCrypto argon2"] = re.search(r'name = "argon2"\nversion = "(.*)"', lock)[1]
    found["rustc"] = output("rustc", "--version").removeprefix("rustc ")
    found["PostgreSQL"] = output(os.environ["PG_CONFIG"], "--version").removeprefix("PostgreSQL ")
    control = Path("password_verify.control").read_text()
    version = re.search(r"default_version = '(.*)'", control)[1]
    commit = output("git", "describe", "--always", "--dirty")
    found["password_verify"] = f"{version} ({commit})" if commit else version
    return found


def output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
