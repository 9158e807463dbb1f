"""The same users twice: in the application's own table, and with password_verify."""

import argon2
import concurrent.futures
import os

from figures import progress
from settings import ACCOUNTS, CORES, DEFAULT_HASH, USERS

PASSWORD = "correct horse battery staple"
# Who logs in: spread over the table.
IDS = [(n + 1) * (USERS // ACCOUNTS) for n in range(ACCOUNTS)]


def create(cluster):
    cluster.sql("CREATE DATABASE shop", database="postgres")
    cluster.sql("CREATE SCHEMA auth")
    cluster.sql("CREATE EXTENSION password_verify SCHEMA auth")
    cluster.sql("CREATE ROLE app LOGIN")
    cluster.sql("GRANT USAGE ON SCHEMA auth TO app")
    cluster.sql("SELECT auth.pv_grant('app', 'verifier')")
    plain_table(cluster)
    credentials(cluster)
    cluster.sql("VACUUM ANALYZE")
    cluster.sql("CHECKPOINT")


def plain_table(cluster):
    """What an application without the extension has. Real hashes for those who log in."""
    progress(f"users: {USERS} rows, of which {ACCOUNTS} are real hashes (by argon2-cffi)")
    cluster.sql("CREATE TABLE users (id bigint PRIMARY KEY, password_hash text NOT NULL)")
    cluster.sql("GRANT SELECT ON users TO app")
    with concurrent.futures.ProcessPoolExecutor(CORES) as pool:
        hashes = list(pool.map(one_hash, IDS))
    cluster.sql(
        "INSERT INTO users SELECT n, left(%s, -22) || left(md5(n::text), 22)"
        f" FROM generate_series(1, {USERS}) n",
        hashes[0],
    )
    with cluster.connect() as connection, connection.cursor() as cursor:
        cursor.executemany("UPDATE users SET password_hash = %s WHERE id = %s", list(zip(hashes, IDS)))


def one_hash(_):
    m, t, p = DEFAULT_HASH
    secret, salt = PASSWORD.encode(), os.urandom(16)
    return argon2.low_level.hash_secret(secret, salt, t, m, p, 32, argon2.Type.ID).decode()


def credentials(cluster):
    """Real ones by the extension's own function; the rest are copies of one under other indexes, which
    a look-up steps past like any other."""
    progress(f"credentials: {USERS} rows, of which {ACCOUNTS} are real")
    with cluster.connect() as connection:
        for user in IDS:
            made = connection.execute(
                "SELECT success, reason FROM auth.pv_set_password(%s::bigint, %s)", (user, PASSWORD)
            ).fetchone()
            if not made[0]:
                raise RuntimeError(f"pv_set_password answers {made[1]}")
        # Whatever columns there are, as a real row has them.
        names = connection.execute(
            "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute"
            " WHERE attrelid = 'password_verify.credential'::regclass AND attnum > 0"
            " AND NOT attisdropped AND attname NOT IN ('blind_index', 'user_id')"
        ).fetchone()[0]
        connection.execute(
            f"INSERT INTO password_verify.credential (blind_index, user_id, {names})"
            f" SELECT gen_random_uuid(), 'filler ' || n, {names}"
            f" FROM generate_series(1, {USERS - ACCOUNTS}) n,"
            " (SELECT * FROM password_verify.credential WHERE user_id <> '' LIMIT 1) real"
        )
        connection.execute(
            "INSERT INTO password_verify.account"
            " SELECT c.blind_index, c.user_id, NULL, NULL, NULL, c.created_at, ''"
            " FROM password_verify.credential c"
            " WHERE NOT EXISTS (SELECT FROM password_verify.account a WHERE a.blind_index = c.blind_index)"
        )
