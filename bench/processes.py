"""CPU and memory of trees of processes, from /proc."""

import os
import statistics
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def tree(*roots):
    """These processes and all their descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (stat := stat_of(entry)):
            children.setdefault(int(stat[1]), []).append(int(entry))
    found, ahead = [], [root for root in roots if root]
    while ahead:
        pid = ahead.pop()
        found.append(pid)
        ahead += children.get(pid, [])
    return found


def stat_of(pid):
    """The fields of /proc/<pid>/stat after the name, which may contain anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None


def cpu_seconds(*roots):
    """User and system time of the trees so far. What has ended counts with its parent, so that a
    worker that comes and goes is not lost."""
    ticks = 0
    for pid in tree(*roots):
        if stat := stat_of(pid):
            ticks += sum(int(field) for field in stat[11:15])
    return ticks / TICK


def peak_in(status_pid):
    """VmHWM of one process in KiB."""
    for line in Path(f"/proc/{status_pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


def anonymous(pids):
    """Anonymous memory of the processes in bytes, huge pages included. Read in some milliseconds,
    so that memory that passes from one process to the next is not counted in both."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/statm").read_text().split()
        except OSError:
            continue
        total += (int(fields[1]) - int(fields[2])) * PAGE
    return total


def shared_part(pids):
    """What Pss has beyond anonymous memory: shares of files and of shared memory (less what forked
    processes share). Both are read at once for each process, so that a hash cancels out."""
    total = 0
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        pss = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        total += pss * 1024 - anonymous([pid])
    return total


def memory(seconds, groups):
    """Sum of Pss in bytes over the trees of each group of roots, sampled for a while."""
    pids = {name: tree(*roots) for name, roots in groups.items()}
    shared = {name: statistics.median(shared_part(them) for _ in range(3)) for name, them in pids.items()}
    samples, end = {name: [] for name in pids}, time.monotonic() + seconds
    while time.monotonic() < end:
        for name, them in pids.items():
            samples[name].append(anonymous(them) + shared[name])
        time.sleep(0.01)
    return {
        name: {
            "peak": max(samples[name]),
            "median": statistics.median(samples[name]),
            "samples": len(samples[name]),
            "processes": len(pids[name]),
        }
        for name in pids
    }


def wait_until_idle(*roots, at_most=30):
    """Until the trees compute nothing, so that one measurement does not pay for another."""
    end = time.monotonic() + at_most
    before = cpu_seconds(*roots)
    while time.monotonic() < end:
        time.sleep(0.5)
        now = cpu_seconds(*roots)
        if now - before <= 0.02:
            return
        before = now
