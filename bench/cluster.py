"""The throw-away server: what is measured runs against it, with fsync as everywhere."""

import os
import pwd
import subprocess
from pathlib import Path

import psycopg

from settings import MOST_CLIENTS

FOLDER = Path(os.environ["BENCH_FOLDER"])
BIN = Path(os.environ["BENCH_BIN"])

CONF = f"""
shared_preload_libraries = 'password_verify'
listen_addresses = ''
unix_socket_directories = '{FOLDER}'
max_connections = {MOST_CLIENTS + 50}
shared_buffers = 256MB
max_wal_size = 4GB
password_verify.queue_timeout = 60s
password_verify.throttle_first_wait = 1h
"""


def as_server(*command):
    """PostgreSQL refuses to run as root."""
    if os.geteuid() == 0:
        user = pwd.getpwnam(os.environ["PV_SERVER_USER"])
        command = (
            ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
            + ["env", "HOME=/tmp"]
            + list(command)
        )
    subprocess.run(list(map(str, command)), cwd=FOLDER, check=True, stdout=subprocess.DEVNULL)


class Cluster:
    def __init__(self):
        options = ["-U", "admin", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        as_server(BIN / "initdb", "-D", FOLDER / "data", *options)
        as_server("sh", "-c", f"cat >>data/postgresql.conf <<'CONF'{CONF}CONF")
        self.running = False

    def control(self, *arguments):
        as_server(BIN / "pg_ctl", "-D", FOLDER / "data", "-l", FOLDER / "log", "-w", "-s", *arguments)

    def start(self, slots=None):
        """With so many hash slots, or with the default."""
        if self.running:
            self.control("-m", "fast", "stop")
        self.control("start", *(["-o", f"-c password_verify.hash_slots={slots}"] if slots else []))
        self.running = True

    @property
    def postmaster(self):
        return int((FOLDER / "data/postmaster.pid").read_text().split()[0])

    def connect(self, user="admin", database="shop"):
        return psycopg.connect(address(user, database), autocommit=True)

    def sql(self, statement, *parameters, database="shop"):
        with self.connect(database=database) as connection:
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchone()[0] if cursor.description and cursor.rowcount else None

    def slots(self):
        """As many as there are; None where the server knows no such setting, and no limit."""
        found = self.sql("SELECT current_setting('password_verify.hash_slots', true)")
        return int(found) if found else None

    def durability(self, policy):
        """Of the next sessions."""
        self.sql(f"ALTER DATABASE shop SET password_verify.audit_durability = {policy}")


def address(user, database="shop"):
    return f"host={FOLDER} user={user} dbname={database}"
