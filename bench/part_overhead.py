"""What a login takes beyond its hash: look-up, throttle, slot, audit. And what a refusal takes."""

import itertools
import os
import statistics
import subprocess
import time

import pgbench
from cluster import FOLDER
from figures import progress, say, summary
from processes import tree, wait_until_idle
from settings import CORES, DEFAULT_HASH, OVERHEAD_ROUNDS, OVERHEAD_SAMPLES, REFUSAL_SECONDS
from users import IDS, PASSWORD
from worker import OURS, Worker

POLICIES = ["commit", "async"]
USERS = itertools.cycle(IDS)
ASK = "SELECT valid FROM auth.pv_validate_password(%s::bigint, %s)"


def run(cluster):
    say(f"overhead: {OVERHEAD_ROUNDS} rounds of {OVERHEAD_SAMPLES} logins and bare hashes, one client")
    cluster.start()
    result = {"login": logins(cluster), "refusals": refusals(cluster)}
    cluster.durability("commit")
    return result


def logins(cluster):
    connections = {}
    for policy in POLICIES:
        cluster.durability(policy)
        connections[policy] = cluster.connect("app")
    taken = {name: [] for name in ["bare", *POLICIES]}
    with Worker(OURS) as worker:
        worker.sample(DEFAULT_HASH)
        for turn in range(OVERHEAD_ROUNDS):
            names = list(taken)
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                # Sample by sample a login would find caches that the bare hash has swept, and the
                # other way round: some of a kind, and their median.
                if name == "bare":
                    some = worker.sample(DEFAULT_HASH, OVERHEAD_SAMPLES)["wall"]
                else:
                    some = [login(connections[name]) for _ in range(OVERHEAD_SAMPLES)]
                taken[name].append(statistics.median(some))
    for connection in connections.values():
        connection.close()
    rows = {"bare": summary(taken["bare"])}
    for policy in POLICIES:
        added = [login - bare for login, bare in zip(taken[policy], taken["bare"])]
        rows[policy] = {
            **summary(taken[policy]),
            "added_ns": statistics.median(added),
            "added_share": statistics.median(a / bare for a, bare in zip(added, taken["bare"])),
        }
    return rows


def login(connection):
    user = next(USERS)
    start = time.perf_counter_ns()
    cursor = connection.execute(ASK, (user, PASSWORD), prepare=True)
    (valid,) = cursor.fetchone()
    taken = time.perf_counter_ns() - start
    assert valid, "a right password was refused"
    return taken


def refusals(cluster):
    """Of an account that waits, as `make figures` does it: the server on one processor, pgbench on the
    others."""
    script = FOLDER / "refused.sql"
    script.write_text("SELECT valid FROM auth.pv_validate_password(99::bigint, 'guess')\n")
    for _ in range(5):
        cluster.sql("SELECT auth.pv_validate_password(99::bigint, 'guess')")
    refused = cluster.sql("SELECT reason FROM auth.pv_validate_password(99::bigint, 'guess')")
    assert refused == "throttled", refused
    everywhere = range(CORES)
    on(tree(cluster.postmaster), [0])
    os.sched_setaffinity(0, range(1, CORES) if CORES > 1 else [0])
    rates = {}
    for clients in (1, 64):
        for policy in POLICIES:
            cluster.durability(policy)
            wait_until_idle(cluster.postmaster)
            rate, _ = pgbench.run(["-f", script], clients, REFUSAL_SECONDS)
            rates[f"{policy}, {clients} clients"] = rate
            progress(f"{clients} clients, {policy}: {rate:.0f} refusals a second")
    os.sched_setaffinity(0, everywhere)
    on(tree(cluster.postmaster), everywhere)
    return rates


def on(pids, processors):
    """Moves processes that are there; their children inherit it."""
    for pid in pids:
        processors_text = ",".join(map(str, processors))
        subprocess.run(["taskset", "-a", "-p", "-c", processors_text, str(pid)], stdout=subprocess.DEVNULL)
