"""What other queries of the server feel while every hash slot is busy."""

import subprocess

import pgbench
from cluster import BIN, FOLDER
from figures import percentile, progress, say
from load import Load
from processes import wait_until_idle
from settings import MOST_CLIENTS, NEIGHBOUR_CLIENTS, NEIGHBOUR_RATE, NEIGHBOUR_ROUNDS
from settings import NEIGHBOUR_SCALE, NEIGHBOUR_SECONDS


def run(cluster):
    say(f"neighbours: pgbench -S with 0 and {MOST_CLIENTS} clients logging in, {NEIGHBOUR_ROUNDS} rounds")
    cluster.start()
    command = [BIN / "pgbench", "-i", "-q", "-s", NEIGHBOUR_SCALE, "-h", FOLDER, "-U", "admin", "shop"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    taken = {0: [], MOST_CLIENTS: []}
    logins = 0
    for _ in range(NEIGHBOUR_ROUNDS):
        wait_until_idle(cluster.postmaster)
        taken[0] += queries()
        with Load("password_verify", MOST_CLIENTS, NEIGHBOUR_SECONDS) as load:
            taken[MOST_CLIENTS] += queries()
            logins += len(load.result()["latencies_ns"])
    result = {
        "scale": NEIGHBOUR_SCALE,
        "clients": NEIGHBOUR_CLIENTS,
        "rate": NEIGHBOUR_RATE,
        "slots": cluster.slots(),
        "logins_per_second": logins / NEIGHBOUR_ROUNDS / NEIGHBOUR_SECONDS,
        "rows": [
            {
                "hashing_clients": hashing,
                "queries": len(latencies),
                "p50_ns": percentile(latencies, 0.5),
                "p99_ns": percentile(latencies, 0.99),
            }
            for hashing, latencies in taken.items()
        ],
    }
    for row in result["rows"]:
        progress(f"{row['hashing_clients']} clients log in: p99 {row['p99_ns'] / 1e6:.2f} ms")
    return result


def queries():
    """From the time at which each should have begun: waiting for a processor is part of it."""
    rate = f"--rate={NEIGHBOUR_RATE}"
    return pgbench.run(["-S"], NEIGHBOUR_CLIENTS, NEIGHBOUR_SECONDS, rate, user="admin")[1]
