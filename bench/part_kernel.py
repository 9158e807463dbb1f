"""The kernel alone, on memory that fits the second-level cache: ns per block of 1 KiB."""

import json
import os
import subprocess

from figures import ratio, say, summary
from settings import KERNEL_ROUNDS


def run():
    say(f"kernel: {KERNEL_ROUNDS} rounds (usually half a minute)")
    taken = subprocess.run(
        ["cargo", "bench", "--locked", "--package", "password-verify-argon2"]
        + ["--bench", "ratios", "--", "--json"],
        env={**os.environ, "ROUNDS": str(KERNEL_ROUNDS)},
        stdout=subprocess.PIPE,
        check=True,
    )
    return [each(it["p"], it["ns_per_block"]) for it in json.loads(taken.stdout)]


def each(p, ns_per_block):
    rustcrypto = ns_per_block["RustCrypto"]
    rows = {
        name: {**summary(values), "times_as_fast_as_rustcrypto": ratio(rustcrypto, values)}
        for name, values in ns_per_block.items()
    }
    return {"p": p, "rows": rows}
