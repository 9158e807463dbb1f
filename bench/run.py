"""All parts in one run. Started by scripts/bench.sh, which knows where things are."""

import json
import os
import time
from pathlib import Path

import machine
import report
from figures import say
from settings import PARTS

OUT = Path(os.environ["BENCH_OUT"])


def main():
    if os.environ.get("RENDER"):
        report.write(json.loads((OUT / "results.json").read_text()), OUT)
        return say(f"written again from results.json: {OUT}/README.md and plots")
    start, (busy, stolen) = time.monotonic(), machine.busy_and_stolen()
    results = {"machine": machine.describe()}
    if "kernel" in PARTS:
        import part_kernel

        results["kernel"] = part_kernel.run()
    if "hash" in PARTS:
        import part_hash

        results["hash"] = part_hash.run()
    if {"login", "overhead", "neighbours"} & set(PARTS):
        with_server(results)
    busy_after, stolen_after = machine.busy_and_stolen()
    results["machine"]["stolen_share"] = (stolen_after - stolen) / max(1, busy_after - busy)
    results["machine"]["minutes"] = (time.monotonic() - start) / 60
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    report.write(results, OUT)
    say(f"written: {OUT}/README.md, results.json and plots")


def with_server(results):
    import part_login
    import part_neighbours
    import part_overhead
    import users
    from cluster import Cluster

    say("a throw-away server with the tables")
    cluster = Cluster()
    cluster.start()
    users.create(cluster)
    if "login" in PARTS:
        results["login"] = part_login.run(cluster)
    if "overhead" in PARTS:
        results["overhead"] = part_overhead.run(cluster)
    if "neighbours" in PARTS:
        results["neighbours"] = part_neighbours.run(cluster)


main()
