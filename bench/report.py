"""docs/bench/README.md and its plots, from the results."""

import plots
import targets
from sections import hashes, kernel, logins, machine, neighbours, overhead, table

INTRODUCTION = """# Benchmarks

Made by `make bench` on {date}, everything in one run of {minutes:.0f} minutes in which the candidates
took turns. The raw results are in [results.json](results.json). A ratio says how many times as long (or as much) the
other candidate takes; a larger one is better for password_verify.

When the run began, the load of the machine was {load_before:.1f}; of the time that its processors worked, {stolen:.1f} %
went to other machines on the same host. Times vary from run to run, on a shared machine by tens of percent: trust ratios
more than times, and medians of many rounds more than single values.
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
        parts.append("The targets were set before the measurement, for a machine with AVX-512. Medians are compared.\n")
        if "avx512f" not in found["instructions"]:
            parts.append("**This machine has no AVX-512, so those targets do not apply to it.**\n")
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
