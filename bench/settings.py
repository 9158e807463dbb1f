"""How much is measured. QUICK=1 tries everything out in a few minutes; its figures mean nothing."""

import os

QUICK = bool(os.environ.get("QUICK"))
CORES = os.cpu_count()

# Which of them to run, for trying one out: PARTS="kernel hash".
ALL_PARTS = ["kernel", "hash", "login", "overhead", "neighbours"]
PARTS = os.environ.get("PARTS", "").split() or ALL_PARTS

# m in KiB, t, p.
HASHES = [(19 * 1024, 2, 1), (65536, 3, 1), (65536, 3, 4), (131072, 3, 4)]
DEFAULT_HASH = (65536, 3, 4)

KERNEL_ROUNDS = 4 if QUICK else 200
HASH_ROUNDS = 3 if QUICK else 40

USERS = 10_000 if QUICK else 1_000_000
ACCOUNTS = 16 if QUICK else 400
CLIENTS = [1, 8, 20] if QUICK else [1, 8, 64, 200]
MOST_CLIENTS = CLIENTS[-1]
LOGIN_ROUNDS = 1 if QUICK else 2
LOGIN_SECONDS = 4 if QUICK else 15
MEMORY_SECONDS = 2 if QUICK else 5

OVERHEAD_ROUNDS = 3 if QUICK else 40
OVERHEAD_SAMPLES = 3 if QUICK else 8
REFUSAL_SECONDS = 2 if QUICK else 8

NEIGHBOUR_CLIENTS = 4
NEIGHBOUR_RATE = 400
NEIGHBOUR_ROUNDS = 1 if QUICK else 3
NEIGHBOUR_SECONDS = 4 if QUICK else 15
NEIGHBOUR_SCALE = 1 if QUICK else 10
