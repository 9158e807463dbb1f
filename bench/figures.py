"""Summaries of samples."""

import math
import statistics
import sys


def percentile(values, share):
    """The smallest value that this share of all does not exceed."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(round(len(ranked) * share, 6)) - 1)]


def summary(values):
    return {"min": min(values), "median": statistics.median(values), "n": len(values)}


def ratio(values, ours):
    """How many times as long as ours: of the medians of the rounds paired, and of the minima."""
    paired = [theirs / mine for theirs, mine in zip(values, ours)]
    return {"median": statistics.median(paired), "min": min(values) / min(ours)}


def say(text):
    """A step, as the scripts say theirs."""
    bold, plain = ("\033[1m", "\033[0m") if sys.stderr.isatty() else ("", "")
    print(f"{bold}== {text}{plain}", file=sys.stderr, flush=True)


def progress(text):
    print(f"   {text}", file=sys.stderr, flush=True)
