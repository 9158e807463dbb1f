"""Whole hashes by every candidate, sample by sample in turns: wall time, CPU time, peak memory."""

from contextlib import ExitStack

from figures import progress, ratio, say, summary
from settings import HASH_ROUNDS, HASHES
from worker import CANDIDATES, OURS, Worker, can


def run():
    say(f"hash: {len(HASHES)} settings, {len(CANDIDATES)} candidates, {HASH_ROUNDS} rounds")
    with ExitStack() as stack:
        workers, missing = {}, {}
        for name in CANDIDATES:
            try:
                worker = stack.enter_context(Worker(name))
                worker.sample(HASHES[0])
                workers[name] = worker
            except (OSError, RuntimeError) as why:
                missing[name] = getattr(why, "strerror", None) or str(why)
                progress(f"{name} is left out: {missing[name]}")
        settings = [measure(hashed, workers) for hashed in HASHES]
    return {"settings": settings, "left_out": missing}


def measure(hashed, workers):
    m, t, p = hashed
    progress(f"m={m // 1024} MiB t={t} p={p}")
    names = [name for name in workers if can(name, hashed)]
    wall, cpu = {name: [] for name in names}, {name: [] for name in names}
    tags = {workers[name].sample(hashed)["tag"] for name in names}  # and warms them up
    assert len(tags) == 1, f"candidates disagree: {tags}"
    for turn in range(HASH_ROUNDS):
        # There and back, so that each comes after the others.
        for name in names if turn % 2 == 0 else reversed(names):
            sample = workers[name].sample(hashed)
            assert sample["tag"] in tags, f"{name} disagrees"
            wall[name] += sample["wall"]
            cpu[name] += sample["cpu"]
    rows = {}
    for name in names:
        before, peak = memory(name, hashed)
        rows[name] = {
            "wall_ns": summary(wall[name]),
            "cpu_ns": summary(cpu[name]),
            "wall_ratio": ratio(wall[name], wall[OURS]),
            "cpu_ratio": ratio(cpu[name], cpu[OURS]),
            "peak_kib": peak,
            "before_kib": before,
        }
    return {"m_kib": m, "t": t, "p": p, "rows": rows}


def memory(name, hashed):
    """VmHWM of a process before it hashes, and of a fresh one that has hashed once."""
    with Worker(name) as worker:
        worker.sample((8 * 4, 1, 1))
        before = worker.peak()
    with Worker(name) as worker:
        worker.sample(hashed)
        return before, worker.peak()
