"""Clients that each log in again as soon as they are answered, in one process, as the driver tells it to.

Says `window` when every client has been answered once, measures for the time it was given, says what it
measured as a line of JSON, and goes on until its input ends: memory is sampled then, so that sampling
slows no figure.
"""

import asyncio
import json
import multiprocessing
import os
import random
import sys
import time

CONFIG = json.loads(sys.argv[1])


class Loop:
    def __init__(self):
        self.answered = set()
        self.logins = []
        self.others = {}
        self.measuring = self.measured = False
        self.told_to_stop = asyncio.Event()

    async def client(self, number, login):
        chance = random.Random(number)
        while not self.told_to_stop.is_set():
            user, start = chance.choice(CONFIG["ids"]), time.perf_counter_ns()
            try:
                answer = await login(number, user)
            except Exception as error:  # counted: anything but a login is reported
                answer = type(error).__name__
                await asyncio.sleep(0.1)
            self.answered.add(number)
            if self.measuring and answer is True:
                self.logins.append(time.perf_counter_ns() - start)
            elif self.measuring:
                self.others[str(answer)] = self.others.get(str(answer), 0) + 1

    async def watch(self):
        await asyncio.to_thread(sys.stdin.read)
        if not self.measured:
            end()  # the driver is gone
        self.told_to_stop.set()

    async def run(self, login):
        watch = asyncio.create_task(self.watch())
        clients = [asyncio.create_task(self.client(number, login)) for number in range(CONFIG["clients"])]
        warm_until = time.monotonic() + CONFIG["warm_seconds"]
        await asyncio.sleep(1)
        while len(self.answered) < len(clients) and time.monotonic() < warm_until:
            await asyncio.sleep(0.05)
        print("window", flush=True)
        start, self.measuring = time.monotonic(), True
        await asyncio.sleep(CONFIG["seconds"])
        self.measuring, seconds, self.measured = False, time.monotonic() - start, True
        print(
            json.dumps({"seconds": seconds, "latencies_ns": self.logins, "others": self.others}),
            flush=True,
        )
        await watch
        if CONFIG["drain"]:
            await asyncio.gather(*clients)


def end():
    """At once: what an application still has in its queues is nobody's figure."""
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(0)
