"""A candidate: argon2-cffi or PyNaCl, told on stdin what to hash (crates/argon2/examples/hash_worker.rs says how)."""

import json
import sys
import time

PASSWORD = b"correct horse battery staple"
SALT = b"sixteenbytesalt!"


def argon2_cffi(m, t, p):
    return hash_secret_raw(PASSWORD, SALT, t, m, p, 32, Type.ID)


def pynacl(m, t, p):
    assert p == 1, "libsodium computes one lane only"
    return argon2id.kdf(32, PASSWORD, SALT, opslimit=t, memlimit=m * 1024)


# Only what is measured is loaded: memory is measured too.
if sys.argv[1] == "argon2-cffi":
    from argon2.low_level import Type, hash_secret_raw

    compute = argon2_cffi
else:
    from nacl.pwhash import argon2id

    compute = pynacl

for line in sys.stdin:
    m, t, p, n = map(int, line.split())
    wall, cpu = [], []
    for _ in range(n):
        start, start_cpu = time.perf_counter_ns(), time.process_time_ns()
        tag = compute(m, t, p)
        wall.append(time.perf_counter_ns() - start)
        cpu.append(time.process_time_ns() - start_cpu)
    print(json.dumps({"wall": wall, "cpu": cpu, "tag": tag.hex()}), flush=True)
