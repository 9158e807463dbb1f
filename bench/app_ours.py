"""Clients of password_verify: each has a connection and asks the database."""

import asyncio

import psycopg

from closed_loop import CONFIG, Loop, end

LOGIN = "SELECT valid, reason FROM auth.pv_validate_password(%s::bigint, %s)"


async def main():
    connections = []
    for _ in range(CONFIG["clients"]):
        connection = await psycopg.AsyncConnection.connect(CONFIG["address"], autocommit=True)
        connections.append(connection)

    async def login(number, user):
        cursor = await connections[number].execute(LOGIN, (user, CONFIG["password"]), prepare=True)
        valid, reason = await cursor.fetchone()
        return valid or reason

    await Loop().run(login)
    end()


asyncio.run(main())
