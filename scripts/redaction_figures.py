"""Measures for scripts/redaction_figures.sh the processor time of a session for each of its transactions, in several states
of the server in turn, and makes the tables of it.

    scripts/redaction_figures.py measure PGBENCH WITHOUT AGAIN WITH >>COSTS
    scripts/redaction_figures.py tables <COSTS
    scripts/redaction_figures.py counted NONE NONE OFF OFF ON ON

WITHOUT, AGAIN and WITH are the folders of running servers: two without the library and one that has it preloaded. What was
counted are the instructions for 500 and for 1500 SELECTs in each state.
"""

import json
import os
import random
import select
import statistics
import subprocess
import sys

# A turn is long enough for the clock, and short enough that all states find the same machine.
TURNS = 20
TURN_NS = 5_000_000

# The script finds out which process serves it. In each turn it tells that process's clock twice: after a quarter as many
# transactions as are measured, when what they need is in the processor's caches again, and at the end, where it waits for
# its next turn. Nothing of this reaches the server.
HEAD = r"""\set n :n + 1
\if :n = 1
SELECT pg_backend_pid() AS pid \gset
\endif
\if :n % :turn = :warm
\shell {clock} {name} :pid
\elif :n % :turn = 0
\shell {clock} {name} :pid wait
\endif
"""
CLOCK = """#!/bin/sh
read clock rest <"/proc/$2/schedstat"
printf '%20s' "$clock" >"$1.said"
[ -z "$3" ] || read go <"$1.go"
"""
CLOCK_WIDTH = 20


class Session:
    """A pgbench with one client, which waits for its turn after every so many transactions."""

    def __init__(self, host, user, mode, script, count, turns):
        name = os.path.join(WITH, f"{os.path.basename(host)}-{user}")
        clock = os.path.join(WITH, "clock")
        with open(clock, "w") as file:
            file.write(CLOCK)
        os.chmod(clock, 0o755)
        with open(name + ".sql", "w") as file:
            file.write(HEAD.format(clock=clock, name=name) + script)
        for end in ".said", ".go":
            if not os.path.exists(name + end):
                os.mkfifo(name + end)
        # Opened both ways, a pipe waits for nobody and has no end.
        self.said, self.go = [os.open(name + end, os.O_RDWR) for end in (".said", ".go")]
        self.count, warm = count, max(count // 4, 1)
        turn = warm + count
        variables = {"n": 0, "turn": turn, "warm": warm, "password": "correct horse battery staple"}
        self.pgbench = subprocess.Popen(
            [PGBENCH, "-n", "-c", "1", "-M", mode, "-f", name + ".sql", "-t", str(turn * turns)]
            + [f"-D{name}={value}" for name, value in variables.items()] + ["-h", host, "-U", user, "shop"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.said_clock(), self.said_clock()

    def said_clock(self):
        while not select.select([self.said], [], [], 1)[0]:
            # An answer that is not the right one is an error in the script, which ends pgbench.
            if self.pgbench.poll() is not None:
                sys.exit(self.pgbench.stderr.read())
        return int(os.read(self.said, CLOCK_WIDTH))

    def take_turn(self):
        """Nanoseconds of processor time for each transaction of its next turn."""
        os.write(self.go, b"go\n")
        before, after = self.said_clock(), self.said_clock()
        return (after - before) / self.count

    def end(self):
        os.write(self.go, b"go\n")
        errors = self.pgbench.communicate()[1]
        if self.pgbench.returncode != 0:
            sys.exit(errors)
        os.close(self.said)
        os.close(self.go)


def in_turns(states, mode, script, count, turns):
    """What a transaction costs in each state. New sessions take turns, each time in another order."""
    # The first turn is the beginning of the session.
    sessions = {state: Session(*where, mode, script, count, turns + 1) for state, where in states.items()}
    costs = {state: [] for state in states}
    for _ in range(turns):
        for state in random.sample(list(states), len(states)):
            costs[state].append(sessions[state].take_turn())
    for session in sessions.values():
        session.end()
    # A turn can be disturbed, but not hurried.
    return {state: statistics.quantiles(turns, n=4)[0] for state, turns in costs.items()}


def measure(part, what, mode, script, states, turns=TURNS, least=1):
    count, (state, where) = 1, next(iter(states.items()))
    while (cost := in_turns({state: where}, mode, script, count, 4)[state]) * count < TURN_NS / 4:
        count *= 4
    count = max(least, int(TURN_NS / cost))
    costs = in_turns(states, mode, script, count, turns)
    print(json.dumps({"part": part, "what": what, "costs": costs}), flush=True)


def others(states):
    for name, builtin in ("-S", "select-only"), ("-N", "simple-update"):
        shown = subprocess.run([PGBENCH, f"--show-script={builtin}"], capture_output=True, text=True, check=True)
        for mode in "simple", "prepared":
            measure("others", f"`pgbench {name} -M {mode}`", mode, shown.stderr + shown.stdout, states)


def ours(states):
    call = "FROM auth.pv_validate_password({}::bigint, {});\n"
    right, refused = "SELECT 1 / valid::int " + call, "SELECT 1 / (reason = 'throttled')::int " + call
    for what, script, user, least in ("right login", right, 1, 4), ("refusal", refused, 99, 1):
        for how, mode, value in (("literal", "simple", "'correct horse battery staple'"),
                                 ("bound, prepared", "prepared", ":password"),
                                 ("bound, parsed each time", "extended", ":password")):
            measure("ours", f"{what}, {how}", mode, script.format(user, value), states, least=least)


def big(states):
    letters = random.Random(1)

    def words(length):
        text = "".join(letters.choices("abcdefghijklmnopqrstuvwxyz_     ", k=length))
        return text.replace("pv_", "pw_")

    one = f"VALUES (1, '{words(1000000)}')"
    many = "VALUES " + ", ".join(f"({n}, '{words(90)}')" for n in range(10000))
    call = "auth.pv_validate_password(99::bigint, 'guess') WHERE reason = 'throttled'"
    for what, insert in (
            ("`INSERT` of one literal", one),
            ("`INSERT` of 10,000 numbers and 10,000 literals", many),
            ("the same with `pv_` in one of them", many.replace("pw_", "pv_", 1)),
            ("the same with a call of ours, which is refused", f"SELECT id, line FROM ({many}) r (id, line), {call}")):
        measure("big", what, "simple", f"BEGIN;\nINSERT INTO big {insert};\nROLLBACK;\n", states, 8)


def interval(values):
    """Where the median of all such values lies with 95 % certainty: between two of these, found by their number."""
    values, n, below, chance = sorted(values), len(values), 0, 0.5 ** len(values)
    outside = chance
    while outside + chance * (n - below) / (below + 1) <= 0.025:
        chance *= (n - below) / (below + 1)
        outside += chance
        below += 1
    return values[below], values[n - 1 - below]


def row(what, one, other, rounds, aim=None):
    line(what, f"{one} → {other}", [costs[one] for costs in rounds], [costs[other] for costs in rounds], aim)


def line(what, compared, one, other, aim=None):
    """One row: what two things cost in each round."""
    differences = [100 * (b / a - 1) for a, b in zip(one, other)]
    low, high = interval(differences)
    quartiles = statistics.quantiles(differences, n=4)
    verdict = ""
    if aim:
        verdict = f"below {aim} %: " + ("met" if high < aim else "missed" if low >= aim else "not decided")
    micro = [statistics.median(costs) / 1000 for costs in (one, other)]
    cells = [what, compared, *(f"{us:.1f}" if us < 1000 else f"{us:,.0f}" for us in micro),
             f"{statistics.median(differences):+.2f} %", f"{low:+.2f} … {high:+.2f}",
             f"{quartiles[0]:+.1f} … {quartiles[2]:+.1f}", verdict]
    print("| " + " | ".join(cells) + " |")


NONE, AGAIN, ELSEWHERE, OFF, OFF_AGAIN, ON = "none", "again", "elsewhere", "off", "off again", "on"
HEADINGS = {
    "others": "Statements of others",
    "ours": "Statements of ours",
    "big": "A text of 1 MB",
}


def tables():
    found = {}
    for record in map(json.loads, sys.stdin):
        found.setdefault(record["part"], {}).setdefault(record["what"], []).append(record["costs"])
    for part, statements in found.items():
        print(f"## {HEADINGS[part]}\n\n{TEXTS[part]}\n")
        print("| statement | compared | first, µs | second, µs | difference | 95 % | quartiles | aim |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for what, rounds in statements.items():
            if part == "others":
                row(what, NONE, AGAIN, rounds)
                row(what, NONE, ELSEWHERE, rounds)
                row(what, NONE, OFF, rounds)
                row(what, OFF, ON, rounds)
                row(what, NONE, ON, rounds, aim=1)
            else:
                row(what, OFF, OFF_AGAIN, rounds)
                row(what, OFF, ON, rounds, aim=2 if "login" in what else None)
            if what.startswith("right login"):
                refusals = statements[what.replace("right login", "refusal")]
                login = [costs[OFF] for costs in rounds]
                added = [costs[ON] - costs[OFF] for costs in refusals]
                line(what, "off → off and what a refusal has more with on", login, [a + b for a, b in zip(login, added)], aim=2)
        print()


TEXTS = {
    "others": """*none*: the library is not preloaded; *again*: another session of the same server; *elsewhere*: another such
server; *off* and *on*: preloaded, and `password_verify.redact` is that. *off → on* is what looking at the statements
costs, *none → off* what it costs that somebody could.""",
    "ours": """`pv_validate_password`, whose answer is checked. A hash takes the least that is allowed, 7 MB, 5 passes and 1 lane,
and is in the figures of the login. With `audit_durability = async` nobody waits for the worker, whose processor time is not
in them. A refusal, of an account that has to wait, takes no hash and is the quickest answer there is; it has no aim. It
shows best what redaction adds, in microseconds. A login's statement is redacted in the same way, so the third row of each
login adds that to it: hashes differ from one another by more.""",
    "big": """In a transaction that is rolled back. Letters, blanks and `_` at random. Where `pv_` is in a text, all of it is read,
and where a call is, it is redacted in each place that keeps it.""",
}


def counted(numbers):
    """What does not belong to a SELECT is in both numbers of a state."""
    none, off, on = [(int(longer) - int(shorter)) / 1000 for shorter, longer in zip(numbers[::2], numbers[1::2])]
    added = 100 * (on / none - 1)
    print("| user instructions | none | off | on | none → off | none → on | aim |\n| --- | --- | --- | --- | --- | --- | --- |")
    print(f"| the `SELECT` of `pgbench -S` | {none:,.0f} | {off:,.0f} | {on:,.0f} | {100 * (off / none - 1):+.2f} % "
          f"| {added:+.2f} % | below 1 %: {'met' if added < 1 else 'missed'} |\n")


if sys.argv[1] == "tables":
    tables()
elif sys.argv[1] == "counted":
    counted(sys.argv[2:])
else:
    PGBENCH, WITHOUT, WITHOUT_AGAIN, WITH = sys.argv[2:6]
    preloaded = {OFF: (WITH, "does_not"), OFF_AGAIN: (WITH, "does_not_again"), ON: (WITH, "redacts")}
    for part in os.environ.get("PARTS", "others,ours,big").split(","):
        if part == "others":
            # Two sessions of each server: what the processor's caches have of its memory, they share.
            others({NONE: (WITHOUT, "redacts"), AGAIN: (WITHOUT, "does_not"), ELSEWHERE: (WITHOUT_AGAIN, "redacts"),
                    "": (WITHOUT_AGAIN, "does_not"), OFF: preloaded[OFF], ON: preloaded[ON]})
        else:
            {"ours": ours, "big": big}[part](preloaded)
