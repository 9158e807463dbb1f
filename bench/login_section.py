"""The section about logins."""

from plots import rank
from tables import mib, ms, table
from worker import OURS

TEXT = """## Logins

Two applications read the hash from their own table `users(id bigint PRIMARY KEY, password_hash text)` and verify it
themselves: one in Python (asyncio, psycopg's pool of 10 connections, argon2-cffi in as many processes as processors) and
one in Node (`pg`, its pool of 10, `@node-rs/argon2` in as many threads of libuv as processors). They are compared with
clients that call `pv_validate_password`, each with a connection of its own and `audit_durability = commit`. All hash at
64 MiB, t = 3, p = 4. A client logs in again as soon as it is answered, as one of {accounts} random users in tables of
{users} rows, the same in all three. Measurement begins when every client has been answered once. The applications use
every processor, so password_verify has as many hash slots ({slots}); one row has the default ({default_slots}).
`queue_timeout` is 60 s, so that many clients wait instead of being answered `busy`.

`pv_set_password` made the credentials of these {accounts} users. A superuser wrote the other rows of password_verify's
table as copies of one of them under random blind indexes; they are searched, but no client logs in to them. The
{accounts} real hashes of the plain table are by argon2-cffi, and the others are made up.

CPU is the user and system time of the application's processes, clients included, and of all of PostgreSQL's, workers
included. Memory is the peak of the sum of Pss of the same processes, sampled while the load goes on after the
measurement. Reading Pss of 200 processes takes so long that memory which passes from one process to another meanwhile
would count twice. So the part that changes, anonymous memory, is read from all of them within some milliseconds
(`/proc/<pid>/statm`), and the rest of Pss separately.

![logins a second](logins.svg)

![latency](latency.svg)

![CPU](login-cpu.svg)

"""


def logins(found):
    text = TEXT.format(
        accounts=found["accounts"],
        users=f"{found['users']:,}",
        slots=found["slots"] or "no limit",
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
    return f"Meanwhile all other processes on the machine used {share:.2f} processors on average.\n"


def errors(points):
    found = [
        f"{count} × `{answer}` ({point['application']}, {point['clients']} clients)"
        for point in points
        for answer, count in point["not_logins"].items()
    ]
    if not found:
        return "Every attempt was a successful login.\n"
    return "Attempts that were not successful logins, not counted above: " + "; ".join(found) + ".\n"


def memory(found, mine):
    clients = found["servers_own_clients"]
    own, peak = found["servers_own_bytes"], mine[clients]["memory"]["server"]["peak"]
    text = f"""### Memory of the server at {clients} clients

PostgreSQL's own memory is the sum of Pss of all its processes with {clients} clients connected that have logged in once
and are idle now. The peak is the largest of {mine[clients]["memory"]["server"]["samples"]} samples under load.

"""
    rows = [("PostgreSQL's own", mib(own)), ("peak", mib(peak)), ("difference", mib(peak - own))]
    if found["slots"]:
        in_use = found["slots"] * 64 * 2**20
        rows.append((f"{found['slots']} slots × 64 MiB", mib(in_use)))
        rows.append(
            ("peak against slots × 64 MiB + PostgreSQL's own", f"{(peak / (own + in_use) - 1) * 100:+.1f} %")
        )
    return text + table(["", ""], rows)
