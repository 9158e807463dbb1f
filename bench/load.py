"""One measurement under load: an application's process with its clients, and the server."""

import json
import os
import subprocess
import sys

import machine
from cluster import FOLDER, address
from processes import TICK, cpu_seconds, memory, wait_until_idle
from settings import CORES
from users import IDS, PASSWORD

APPLICATIONS = {
    "password_verify": [sys.executable, "bench/app_ours.py"],
    "Python, argon2-cffi": [sys.executable, "bench/app_python.py"],
    "Node, @node-rs/argon2": ["node", os.path.join(os.environ["BENCH_NODE"], "app_node.mjs")],
}
# Of an application's pool. More would wait for the same processors.
CONNECTIONS = 10


class Load:
    """The clients of an application, from the first request to the last."""

    def __init__(self, application, clients, seconds):
        config = {
            "address": address("app"),
            "folder": str(FOLDER),
            "ids": IDS,
            "password": PASSWORD,
            "clients": clients,
            "cores": CORES,
            "connections": min(clients, CONNECTIONS),
            "seconds": seconds,
            "warm_seconds": 180,
            # What the server still computes would be in the next figure.
            "drain": application == "password_verify",
        }
        self.process = subprocess.Popen(
            [*APPLICATIONS[application], json.dumps(config)],
            env={**os.environ, "UV_THREADPOOL_SIZE": str(CORES)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        if self.process.stdout.readline() != "window\n":
            raise RuntimeError(f"the clients ended: {self.process.wait()}")
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def result(self):
        """What they counted, when their time is over. They go on."""
        return json.loads(self.process.stdout.readline())


def point(cluster, application, clients, seconds, memory_seconds):
    """Logins, latencies, CPU and memory of one application at so many clients."""
    wait_until_idle(cluster.postmaster)
    with Load(application, clients, seconds) as load:
        roots = (cluster.postmaster, load.process.pid)
        before, busy = cpu_seconds(*roots), machine.busy_and_stolen()[0]
        result = load.result()
        result["cpu_seconds"] = cpu_seconds(*roots) - before
        busy = (machine.busy_and_stolen()[0] - busy) / TICK
        # By whatever else ran: the reader should know.
        result["others_cpu_seconds"] = max(0, busy - result["cpu_seconds"])
        result["memory"] = memory(memory_seconds, {"all": roots, "server": [cluster.postmaster]})
    return result
