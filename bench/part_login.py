"""Logins: an application that hashes for itself, in Python and in Node, against password_verify."""

from figures import percentile, progress, say
from idle import servers_own
from load import APPLICATIONS, point
from settings import ACCOUNTS, CLIENTS, CORES, LOGIN_ROUNDS, LOGIN_SECONDS, MEMORY_SECONDS
from settings import MOST_CLIENTS, USERS


def run(cluster):
    say(f"login: {', '.join(map(str, CLIENTS))} clients, {LOGIN_ROUNDS} rounds")
    names = list(APPLICATIONS)
    taken = {}
    for turn in range(LOGIN_ROUNDS):
        cluster.start(CORES)
        slots = cluster.slots()
        for at, clients in enumerate(CLIENTS):
            # Each is the first in turn, and comes after each of the others.
            first = (turn + at) % len(names)
            for name in names[first:] + names[:first]:
                measure(cluster, taken, name, clients)
        own = servers_own(cluster, MOST_CLIENTS)
        cluster.start()
        measure(cluster, taken, "password_verify, default slots", MOST_CLIENTS)
    return {
        "users": USERS,
        "accounts": ACCOUNTS,
        "slots": slots,
        "default_slots": cluster.slots(),
        "servers_own_bytes": own,
        "servers_own_clients": MOST_CLIENTS,
        "points": [pooled(name, clients, them) for (name, clients), them in taken.items()],
    }


def measure(cluster, taken, name, clients):
    application = name.partition(", default slots")[0]
    result = point(cluster, application, clients, LOGIN_SECONDS, MEMORY_SECONDS)
    taken.setdefault((name, clients), []).append(result)
    rate = len(result["latencies_ns"]) / result["seconds"]
    others = f"; not logins: {result['others']}" if result["others"] else ""
    progress(f"{clients:4} clients, {name}: {rate:.1f} logins a second{others}")


def pooled(name, clients, them):
    """All rounds of a point together."""
    latencies = [latency for it in them for latency in it["latencies_ns"]]
    seconds = sum(it["seconds"] for it in them)
    others = {}
    for it in them:
        for answer, count in it["others"].items():
            others[answer] = others.get(answer, 0) + count
    return {
        "application": name,
        "clients": clients,
        "logins": len(latencies),
        "seconds": seconds,
        "logins_per_second": len(latencies) / seconds,
        "logins_per_second_of_rounds": [len(it["latencies_ns"]) / it["seconds"] for it in them],
        "p50_ns": percentile(latencies, 0.5) if latencies else None,
        "p99_ns": percentile(latencies, 0.99) if latencies else None,
        "cpu_seconds_per_login": sum(it["cpu_seconds"] for it in them) / max(1, len(latencies)),
        "others_cpu_seconds": sum(it["others_cpu_seconds"] for it in them),
        "memory": {
            group: {key: max(it["memory"][group][key] for it in them) for key in memory}
            for group, memory in them[0]["memory"].items()
        },
        "not_logins": others,
    }
