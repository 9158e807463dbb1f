"""The sections of the report: each a table or two, and how it was measured."""

from login_section import logins
from tables import ms, table
from worker import OURS

__all__ = ["hashes", "kernel", "logins", "machine", "neighbours", "overhead", "table"]


def machine(found):
    pages = ", ".join(f"`{name}` {value}" for name, value in found["huge_pages"].items())
    rows = [
        ("CPU", f"{found['cpu']}, {found['cores']} processors"),
        ("vectors", ", ".join(found["instructions"]) or "none that are used"),
        ("memory", f"{found['memory_mib'] / 1024:.1f} GiB; transparent huge pages: {pages}"),
        ("kernel", found["kernel"]),
        ("versions", ", ".join(f"{name} {version}" for name, version in found["versions"].items())),
    ]
    return "## Machine\n\n" + table(["", ""], rows)


def kernel(found):
    text = """## Kernel

The kernel hashes with m = 256 KiB and 100 passes in one mapping of huge pages that fits the second-level cache, so that
only the computation is measured, neither memory nor page faults. Times are CPU time of the one thread, in ns per block
of 1 KiB.

![ns per block](kernel.svg)

"""
    names = {"avx512": "ours, AVX-512", "avx2": "ours, AVX2", "RustCrypto": "RustCrypto `argon2`"}
    rows = []
    for it in found:
        for name, row in it["rows"].items():
            ratio = row["times_as_fast_as_rustcrypto"]
            cells = (f"{ratio['median']:.2f}", f"{ratio['min']:.2f}", f"p={it['p']}", names[name])
            rows.append((*cells, f"{row['min']:.1f}", f"{row['median']:.1f}", row["n"]))
    head = ["times as fast as RustCrypto", "by the minima", "", "", "min", "median", "rounds"]
    return text + table(head, rows)


def hashes(found):
    text = """## Whole hashes

Each candidate is a process of its own that lives through the whole run. The candidates take turns sample by sample, in
alternating order, and all compute the same tag. Each hash allocates and frees its memory, as each library does by itself
and as password_verify does in the server. Our kernel and RustCrypto's compute all lanes on one thread; argon2-cffi, npm
`argon2` and `@node-rs/argon2` start a thread for each lane, and an otherwise idle machine runs these in parallel. Under
load, CPU time is what counts. libsodium (PyNaCl) supports only p = 1. Peak memory is VmHWM of a fresh process that has
hashed once, beside that of one that has hashed 32 KiB.

![time](hash-wall.svg)

![CPU time](hash-cpu.svg)

"""
    head = ["time, ratio", "by the minima", "CPU, ratio", "", "min", "median", "CPU min", "CPU median"]
    head += ["peak MiB", "without the hash"]
    for it in found["settings"]:
        text += f"### m = {it['m_kib'] // 1024} MiB, t = {it['t']}, p = {it['p']}\n\n"
        rows = []
        for name, row in it["rows"].items():
            wall, cpu = row["wall_ns"], row["cpu_ns"]
            ratios = (row["wall_ratio"]["median"], row["wall_ratio"]["min"], row["cpu_ratio"]["median"])
            times = (wall["min"], wall["median"], cpu["min"], cpu["median"])
            memory = (row["peak_kib"] / 1024, row["before_kib"] / 1024)
            rows.append(
                (
                    *(f"{ratio:.2f}" for ratio in ratios),
                    f"**{name}**" if name == OURS else name,
                    *map(ms, times),
                    *(f"{mib:.1f}" for mib in memory),
                )
            )
        text += table(head, rows) + f"\n{wall['n']} rounds.\n\n"
    for name, why in found["left_out"].items():
        text += f"{name} did not run here and is left out: {why}\n\n"
    return text


def overhead(found):
    login, refusals = found["login"], found["refusals"]
    text = """## Overhead

The logins of one client with the right password at 64 MiB, t = 3, p = 4 go through look-up, throttle, slot and audit.
They are compared with the bare hash by the same code in a process of its own. The two take turns, several samples of
each at a time, and their medians are compared round by round. The overhead includes the client (Python) and the socket.

"""
    rows = [("", "", "bare hash", ms(login["bare"]["min"]), ms(login["bare"]["median"]))]
    for policy in ("commit", "async"):
        it = login[policy]
        added = (f"**{it['added_share'] * 100:+.1f} %**", ms(it["added_ns"]))
        rows.append((*added, f"login, `{policy}`", ms(it["min"]), ms(it["median"])))
    text += table(["added", "added", f"{login['bare']['n']} rounds", "min", "median"], rows)
    text += """
Refusals a second are measured for an account that has to wait, with the server on one processor and pgbench on the
others.

"""
    rows = [(f"`{what}`", f"{rate:.0f}") for what, rate in refusals.items()]
    return text + table(["", "refusals a second"], rows)


def neighbours(found):
    text = f"""## Neighbours

This is the latency of other queries while every hash slot is busy (slots: {found['slots'] or 'no limit'}, the default).
The queries are those of `pgbench -S`, scale {found['scale']}, from {found['clients']} clients, {found['rate']} a second at random times.
Latency counts from when a query should have begun. Meanwhile there were {found['logins_per_second']:.1f} logins a second.

"""
    idle = found["rows"][0]["p99_ns"]
    rows = [
        (
            f"{row['p99_ns'] / idle:.2f}",
            f"{row['hashing_clients']} clients logging in",
            ms(row["p50_ns"], 2),
            ms(row["p99_ns"], 2),
            row["queries"],
        )
        for row in found["rows"]
    ]
    return text + table(["p99, ratio", "", "p50", "p99", "queries"], rows)
