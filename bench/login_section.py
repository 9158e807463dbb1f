"""The section about logins."""

from plots import rank
from tables import mib, ms, table
from worker import OURS

TEXT = """## Logins

An application that reads the hash from its own table `users(id bigint PRIMARY KEY, password_hash text)` and verifies it
itself, in Python (asyncio, psycopg's pool of 10 connections, argon2-cffi in as many processes as processors) and
in Node (`pg`, its pool of 10, `@node-rs/argon2` in as many threads of libuv as processors), against clients that call
`pv_validate_password`, each with a connection of its own, `audit_durability = commit`. All at 64 MiB, t = 3,
p = 4. Clients log in again as soon as they are answered, as one of {accounts} users at random in tables of
{users} rows, the same in all three. Measurement begins when every client has been answered once. The
applications use every processor, so password_verify is given {slots} hash slots too; one row has the default
({default_slots}). `queue_timeout` is 60 s, so that many clients wait instead of being told `busy`.

Those {accounts} credentials were made by `pv_set_password`. The other rows of password_verify's table were written
by a superuser as copies of one of them under random blind indexes: there to be searched, never logged in to.
The {accounts} real hashes of the plain table are by argon2-cffi, the others are made up.

CPU: user and system time of the application's processes, clients included, and of all of PostgreSQL's, workers
included. Memory: the sum of Pss of the same processes, sampled while the load goes on after the measurement; its
peak. A sample of 200 processes would count memory twice that passes from one to another meanwhile: what changes,
anonymous memory, is read from all of them in some milliseconds (`/proc/<pid>/statm`), the rest of Pss on its own.

![logins a second](logins.svg)

![latency](latency.svg)

![CPU](login-cpu.svg)

"""


def logins(found):
    text = TEXT.format(
        accounts=found["accounts"],
        users=f"{found['users']:,}",
        slots=found["slots"] or "no limit of",
        default_slots=found["default_slots"] or "no limit",
    )
    head = ["logins, ratio", "CPU, ratio", "clients", "", "logins a second", "of each round", "logins"]
    head += ["p50", "p99", "CPU of a login", "peak memory", "processes"]
    points = found["points"]
    mine = {point["clients"]: point for point in points if point["application"] == OURS}
    rows = []
    for point in sorted(points, key=rank):
        yardstick = mine[point["clients"]]
        rate = yardstick["logins_per_second"] / point["logins_per_second"]
        cpu = point["cpu_seconds_per_login"] / yardstick["cpu_seconds_per_login"]
        name = point["application"]
        rows.append(
            (
                f"{rate:.2f}",
                f"{cpu:.2f}",
                point["clients"],
                f"**{name}**" if name == OURS else name,
                f"{point['logins_per_second']:.1f}",
                ", ".join(f"{rate:.1f}" for rate in point["logins_per_second_of_rounds"]),
                point["logins"],
                ms(point["p50_ns"], 0),
                ms(point["p99_ns"], 0),
                ms(point["cpu_seconds_per_login"] * 1e9, 0),
                mib(point["memory"]["all"]["peak"]),
                point["memory"]["all"]["processes"],
            )
        )
    text += table(head, rows) + "\n" + errors(points) + "\n" + others(points) + "\n" + memory(found, mine)
    return text


def others(points):
    share = sum(point["others_cpu_seconds"] for point in points) / sum(point["seconds"] for point in points)
    return f"Whatever else ran on the machine used {share:.2f} processors on average meanwhile.\n"


def errors(points):
    found = [
        f"{count} × `{answer}` ({point['application']}, {point['clients']} clients)"
        for point in points
        for answer, count in point["not_logins"].items()
    ]
    if not found:
        return "Every attempt was a login.\n"
    return "Attempts that were not logins, not counted above: " + "; ".join(found) + ".\n"


def memory(found, mine):
    clients = found["servers_own_clients"]
    own, peak = found["servers_own_bytes"], mine[clients]["memory"]["server"]["peak"]
    text = f"""### Memory of the server at {clients} clients

PostgreSQL's own is the sum of Pss of all its processes with {clients} clients connected that have logged in once and do
nothing now. The peak is the largest of {mine[clients]["memory"]["server"]["samples"]} samples under load.

"""
    rows = [("PostgreSQL's own", mib(own)), ("peak", mib(peak)), ("difference", mib(peak - own))]
    if found["slots"]:
        in_use = found["slots"] * 64 * 2**20
        rows.append((f"{found['slots']} slots × 64 MiB", mib(in_use)))
        rows.append(
            ("peak against slots × 64 MiB + PostgreSQL's own", f"{(peak / (own + in_use) - 1) * 100:+.1f} %")
        )
    return text + table(["", ""], rows)
