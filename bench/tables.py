"""Markdown tables."""


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def ms(ns, digits=1):
    return f"{ns / 1e6:.{digits}f} ms"


def mib(count):
    return f"{count / 2**20:.0f} MiB"
