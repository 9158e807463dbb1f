"""Which plots there are."""

from plot import bars


def ours(label):
    return label.startswith("password_verify") or label.startswith("AVX")


def draw(results, out):
    if "kernel" in results:
        kernel(results["kernel"], out)
    if "hash" in results:
        for kind, what in (("wall", "time"), ("cpu", "CPU time")):
            hashes(results["hash"]["settings"], kind, what, out)
    if "login" in results:
        logins(results["login"]["points"], out)


def kernel(found, out):
    names = {"avx512": "AVX-512", "avx2": "AVX2"}
    groups = [
        (
            f"p={it['p']}",
            [
                (names.get(name, name), row["median"], f"{row['median']:.0f} ns")
                for name, row in it["rows"].items()
            ],
        )
        for it in found
    ]
    bars("One block of 1 KiB, in the second-level cache (less is better)", groups, out / "kernel.svg", ours)


def hashes(settings, kind, what, out):
    groups = []
    for it in settings:
        rows = [
            (
                name,
                row[f"{kind}_ns"]["median"],
                f"{row[f'{kind}_ns']['median'] / 1e6:.1f} ms"
                + ("" if ours(name) else f" ({row[f'{kind}_ratio']['median']:.1f} ×)"),
            )
            for name, row in it["rows"].items()
        ]
        groups.append((f"{it['m_kib'] // 1024} MiB, t={it['t']}, p={it['p']}", rows))
    title = f"One hash, {what} (less is better; each setting has a scale of its own)"
    bars(title, groups, out / f"hash-{kind}.svg", ours, one_scale=False)


def logins(points, out):
    each = (
        ("logins", "Logins a second (more is better)", rate),
        ("latency", "99 of 100 logins take at most (less is better)", latency),
        ("login-cpu", "CPU of a login, application and server (less is better)", cpu),
    )
    for name, title, value in each:
        groups = []
        for clients in sorted({point["clients"] for point in points}):
            rows = [
                (point["application"], *value(point))
                for point in sorted(points, key=rank)
                if point["clients"] == clients
            ]
            groups.append((f"{clients} client{'s' if clients > 1 else ''}", rows))
        bars(title, groups, out / f"{name}.svg", ours)


def rank(point):
    """Ours first, the others always in the same order, though they took turns."""
    name = point["application"]
    return point["clients"], not ours(name), name


def rate(point):
    return point["logins_per_second"], f"{point['logins_per_second']:.1f}"


def latency(point):
    return (point["p99_ns"] or 0) / 1e9, f"{(point['p99_ns'] or 0) / 1e9:.2f} s"


def cpu(point):
    return point["cpu_seconds_per_login"], f"{point['cpu_seconds_per_login'] * 1000:.0f} ms"
