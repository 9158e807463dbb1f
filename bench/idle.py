"""PostgreSQL's own memory: clients that are connected and have logged in once, and do nothing now."""

from contextlib import ExitStack

from processes import memory, wait_until_idle
from users import IDS, PASSWORD


def servers_own(cluster, clients):
    """Sum of Pss in bytes, over all processes of the server."""
    with ExitStack() as stack:
        for number in range(clients):
            connection = stack.enter_context(cluster.connect("app"))
            connection.execute(
                "SELECT valid FROM auth.pv_validate_password(%s::bigint, %s)",
                (IDS[number % len(IDS)], PASSWORD),
                prepare=True,
            )
        wait_until_idle(cluster.postmaster)
        return memory(1, {"server": [cluster.postmaster]})["server"]["median"]
