"""pgbench, for what is short: thousands a second."""

import re
import subprocess

from cluster import BIN, FOLDER


def run(script, clients, seconds, *options, user="app"):
    """Transactions a second, and the latency of each in ns."""
    prefix = FOLDER / "latency"
    for old in FOLDER.glob("latency*"):
        old.unlink()
    command = [BIN / "pgbench", "-n", "-M", "prepared", "-h", FOLDER, "-U", user, "-c", clients]
    command += ["-j", 1, "-T", seconds, "-l", f"--log-prefix={prefix}", *script, *options, "shop"]
    output = subprocess.run(
        list(map(str, command)), check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ).stdout
    latencies = [
        int(line.split()[2]) * 1000
        for log in FOLDER.glob("latency.*")
        for line in log.read_text().splitlines()
    ]
    return float(re.search(r"^tps = ([0-9.]+)", output, re.M)[1]), latencies
