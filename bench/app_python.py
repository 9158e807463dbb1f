"""An application in Python: reads the hash from its table and verifies it in a pool of processes."""

import argon2
import asyncio
import concurrent.futures

from closed_loop import CONFIG, Loop, end

HASH = "SELECT password_hash FROM users WHERE id = %s"


def verify(stored, password):
    try:
        return argon2.PasswordHasher().verify(stored, password)
    except argon2.exceptions.VerifyMismatchError:
        return "wrong password"


async def main():
    workers = concurrent.futures.ProcessPoolExecutor(CONFIG["cores"])
    # Before there is anything that they would inherit.
    list(workers.map(abs, range(CONFIG["cores"])))
    from psycopg_pool import AsyncConnectionPool

    settings = {"autocommit": True}
    size = CONFIG["connections"]
    pool = AsyncConnectionPool(
        CONFIG["address"], min_size=size, max_size=size, kwargs=settings, timeout=120, open=False
    )
    await pool.open(wait=True)

    async def login(_, user):
        async with pool.connection() as connection:
            cursor = await connection.execute(HASH, (user,))
            (stored,) = await cursor.fetchone()
        running = asyncio.get_running_loop()
        return await running.run_in_executor(workers, verify, stored, CONFIG["password"])

    await Loop().run(login)
    end()


if __name__ == "__main__":
    asyncio.run(main())
