"""The candidates of the hash: long-lived processes that hash when told to, so that they can take turns."""

import json
import os
import subprocess
import sys

from processes import peak_in

RUST = os.path.join(os.environ["CARGO_TARGET_DIR"], "release/examples/hash_worker")
PYTHON = [sys.executable, "bench/hash_python.py"]
NODE = ["node", os.path.join(os.environ["BENCH_NODE"], "hash_node.mjs")]

# The first is ours, which the others are compared with.
OURS = "password_verify"
CANDIDATES = {
    OURS: [RUST, "ours"],
    "RustCrypto argon2": [RUST, "rustcrypto"],
    "argon2-cffi": [*PYTHON, "argon2-cffi"],
    "PyNaCl": [*PYTHON, "pynacl"],
    "npm argon2": [*NODE, "argon2"],
    "@node-rs/argon2": [*NODE, "node-rs"],
}


def can(name, hashed):
    """libsodium computes one lane only."""
    return name != "PyNaCl" or hashed[2] == 1


class Worker:
    def __init__(self, name):
        self.process = subprocess.Popen(
            CANDIDATES[name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # It ends with its input.
        self.process.stdin.close()
        self.process.wait()

    def sample(self, hashed, n=1):
        """n times m, t, p: wall and CPU times in ns, and the tag."""
        self.process.stdin.write(" ".join(map(str, [*hashed, n])) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"it ended with status {self.process.wait()}")
        return json.loads(answer)

    def peak(self):
        return peak_in(self.process.pid)
