"""docs/bench/README.md and its plots, from the results."""

import plots
import targets
from sections import hashes, kernel, logins, machine, neighbours, overhead, table

INTRODUCTION = """# Benchmarks

Made by `make bench` on {date}, everything in one run of {minutes:.0f} minutes, candidates in turns. Raw
results: [results.json](results.json). A ratio says how many times as long (or as much) the other takes; more is
better for password_verify.

When it began the load of the machine was {load_before:.1f}; of the time that its processors worked {stolen:.1f} % went to
others on the same host. Times vary from run to run, on a shared machine by tens of percent: trust ratios before times, and
medians of many rounds before single ones.
"""


def write(results, out):
    plots.draw(results, out)
    found = results["machine"]
    parts = [INTRODUCTION.format(stolen=found["stolen_share"] * 100, **found)]
    if found["quick"]:
        parts.append("**A quick run: too short for its figures to mean anything.**\n")
    parts.append(machine(found))
    judged = list(targets.judged(results))
    if judged:
        met = sum(verdict == "met" for *_, verdict in judged)
        parts.append(f"## Targets: {met} of {len(judged)} met\n")
        parts.append("Set for a machine with AVX-512, before the measurement. By the medians.\n")
        if "avx512f" not in found["instructions"]:
            parts.append("**This machine has no AVX-512: those targets are not its.**\n")
        parts.append(table(["what", "measured", "target", ""], judged))
    for section, name in (
        (kernel, "kernel"),
        (hashes, "hash"),
        (logins, "login"),
        (overhead, "overhead"),
        (neighbours, "neighbours"),
    ):
        if name in results:
            parts.append(section(results[name]))
    (out / "README.md").write_text("\n".join(parts))
