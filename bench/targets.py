"""What was aimed at, and whether it was reached. A target that was not measured is not listed."""

from worker import OURS

CFFI, NODE_RS = "argon2-cffi", "@node-rs/argon2"
PYTHON_APP, NODE_APP = "Python, argon2-cffi", "Node, @node-rs/argon2"


def judged(results):
    """(what, measured, aim, verdict), as text."""
    for section in (kernel, hashes, logins, memory, overhead):
        yield from section(results)


def at_least(what, value, aim, unit="×"):
    verdict = "met" if value >= aim else f"**missed** by {(1 - value / aim) * 100:.1f} %"
    return what, f"{value:.2f} {unit}", f"≥ {aim} {unit}", verdict


def at_most(what, value, aim, unit):
    verdict = "met" if value <= aim else f"**missed** by {(value / aim - 1) * 100:.1f} %"
    return what, f"{value:.1f} {unit}", f"≤ {aim} {unit}", verdict


def kernel(results):
    for it in results.get("kernel", []):
        rustcrypto = it["rows"]["RustCrypto"]["median"]
        for path, name, aim in (("avx512", "AVX-512", 110), ("avx2", "AVX2", 200)):
            if path in it["rows"]:
                what = f"kernel, {name}, p={it['p']} (RustCrypto in the same run: {rustcrypto:.0f} ns)"
                yield at_most(what, it["rows"][path]["median"], aim, "ns per block")


def hashes(results):
    aims = {
        (19 * 1024, 2, 1): [(CFFI, "wall", 3.5), (NODE_RS, "wall", 1.4)],
        (65536, 3, 4): [(CFFI, "wall", 4), (CFFI, "cpu", 6), (NODE_RS, "cpu", 2.2)],
    }
    for it in results.get("hash", {}).get("settings", []):
        for name, kind, aim in aims.get((it["m_kib"], it["t"], it["p"]), []):
            if name in it["rows"]:
                time = {"wall": "time", "cpu": "CPU"}[kind]
                what = f"hash of {it['m_kib'] // 1024} MiB, t={it['t']}, p={it['p']}: {time} against {name}"
                yield at_least(what, it["rows"][name][f"{kind}_ratio"]["median"], aim)


def logins(results):
    rates = {
        (point["application"], point["clients"]): point["logins_per_second"]
        for point in results.get("login", {}).get("points", [])
    }
    for clients in sorted({clients for _, clients in rates if clients >= 8}):
        for application, aim in ((PYTHON_APP, 4), (NODE_APP, 2)):
            ratio = rates[OURS, clients] / rates[application, clients]
            yield at_least(f"logins a second, {clients} clients, against {application}", ratio, aim)


def memory(results):
    if not (login := results.get("login")) or not login["slots"]:
        return
    clients = login["servers_own_clients"]
    expected = login["servers_own_bytes"] + login["slots"] * 64 * 2**20
    for point in login["points"]:
        if (point["application"], point["clients"]) == (OURS, clients):
            over = (point["memory"]["server"]["peak"] / expected - 1) * 100
            verdict = "met" if over <= 10 else f"**missed** by {over - 10:.1f} points"
            yield (
                f"peak memory of the server at {clients} clients, above slots × 64 MiB + PostgreSQL's own",
                f"{over:+.1f} %",
                "≤ 10 %",
                verdict,
            )


def overhead(results):
    for policy in ("commit", "async"):
        if found := results.get("overhead"):
            share = found["login"][policy]["added_share"] * 100
            verdict = "met" if share <= 5 else f"**missed** by {share - 5:.1f} points"
            yield f"a login beyond its bare hash, `{policy}`", f"{share:.1f} %", "≤ 5 %", verdict
