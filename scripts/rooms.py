#!/usr/bin/env python3
"""Checks the layout of the library: which room may use which, and how large a ring may be.

`use` points down: a file may use files of its own room and of rooms below it, and no files may use one
another in a circle, even within a room (a module and its own children count as one). docs/architecture.md
explains rooms, rings and ceilings, and records every decision to raise a ceiling.

    scripts/rooms.py [FOLDER]    looks at the library in FOLDER, or here
"""

import collections
import os
import pathlib
import re
import sys

# From top to bottom. The longest matching prefix assigns a file to its room.
ROOMS = [
    ("border", ["lib", "api"]),
    ("verify", ["pg/verify"]),
    ("worker", ["pg/worker"]),
    ("keeper", ["keeper"]),
    ("account", ["account"]),
    ("gate", ["gate"]),
    ("session", ["pg/session"]),
    ("kept", ["pg/kept"]),
    ("vault", ["pg/vault"]),
    ("tables", ["pg/tables"]),
    ("heap", ["pg/heap"]),
    ("keys", ["pg/keys"]),
    ("redaction", ["pg/redaction"]),
    ("shared", ["pg/shared"]),
    ("server", ["pg/server"]),
    ("ground", ["answer", "error", "settings", "counter", "salt", "kernel", "pg/report", "pg/setting", "pg"]),
]

# Ring, its contents, and its ceiling in lines of code, without tests, comments and blank lines.
RINGS = [
    ("A, what decides", ["src/gate", "src/account", "src/keeper", "crates/core/src/rules"], 3600),
    ("B, glue to PostgreSQL", ["src/pg/session", "src/pg/kept", "src/pg/vault", "src/pg/tables", "src/pg/heap",
                               "src/pg/keys", "src/pg/shared", "src/pg/server", "src/pg/report.rs", "src/pg/setting.rs", "src/pg/mod.rs"], 10150),
    ("R, what redacts", ["src/pg/redaction", "crates/core/src/redaction"], 2250),
    ("C, the worker", ["src/pg/worker"], 2100),
    ("V, what verifies", ["src/pg/verify"], 620),
    ("the border", ["src/lib.rs", "src/api.rs", "src/api", "src/answer.rs", "src/error.rs", "src/settings",
                    "src/counter.rs", "src/salt.rs", "src/kernel.rs"], 2080),
    ("K, the program beside the server", ["crates/keeper/src"], 4500),
]

SRC = pathlib.Path("src")


def module(path):
    """The path of a module as parts; () is the root."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return parts[:-1] if parts[-1] in ("mod", "lib") else parts


def leaves(tree):
    """The paths that a `use` tree names."""
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    if not brace:
        return [[part.strip() for part in tree.split(" as ")[0].split("::")]]
    prefix = [part.strip() for part in head.strip().removesuffix("::").split("::") if part.strip()]
    depth, item, items = 0, "", []
    for char in rest.rsplit("}", 1)[0]:
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            items.append(item)
            item = ""
        else:
            item += char
    items.append(item)
    return [prefix + [part for part in leaf if part != "self"]
            for item in items if item.strip() for leaf in leaves(item)]


def absolute(mod, path, children):
    """The path from the root of the crate; None if it leads to another crate."""
    if path[0] == "crate":
        return path[1:]
    if path[0] == "super":
        ups = next((i for i, part in enumerate(path) if part != "super"), len(path))
        return list(mod[:len(mod) - ups]) + path[ups:]
    if path[0] == "self":
        return list(mod) + path[1:]
    return list(mod) + path if path[0] in children else None


def uses():
    """All modules and their files, and for each module the modules that it names."""
    files = {module(path): path for path in sorted(SRC.rglob("*.rs"))}
    found = collections.defaultdict(set)
    for mod, path in files.items():
        text = re.sub(r"//.*", "", path.read_text())
        text = re.split(r"#\[cfg\(test\)\]\s*mod ", text)[0]
        children = {other[len(mod)] for other in files if other[:len(mod)] == mod and len(other) > len(mod)}
        named = [leaf for tree in re.findall(r"\buse ([^;]+);", text) for leaf in leaves(tree)]
        body = re.sub(r"\buse [^;]+;", "", text)
        named += [name.split("::") for name in re.findall(r"\b(?:crate|super|self)(?:::\w+)+", body)]
        named += [name.split("::") for name in re.findall(r"(?<![\w:])[a-z_]+(?:::\w+)+", body)
                  if mod == () and name.split("::")[0] in children]
        for name in named:
            full = absolute(mod, name, children)
            if full is None:
                continue
            target = next((tuple(full[:end]) for end in range(len(full), 0, -1) if tuple(full[:end]) in files), ())
            if target not in (mod, ()):
                found[mod].add(target)
    return files, found


def room(mod):
    """The rank of a module's room from the top, and its name; None if it is in no room."""
    path = "/".join(mod) or "lib"
    fits = [(len(prefix), rank, name) for rank, (name, prefixes) in enumerate(ROOMS)
            for prefix in prefixes if path == prefix or path.startswith(prefix + "/")]
    return max(fits)[1:] if fits else None


def circles(found):
    """Pairs of modules that use one another in a circle, except a module and its children."""
    def reach(start):
        seen, todo = set(), [start]
        while todo:
            for other in found[todo.pop()]:
                if other not in seen:
                    seen.add(other)
                    todo.append(other)
        return seen

    reached = {mod: reach(mod) for mod in list(found)}
    related = lambda a, b: a[:len(b)] == b or b[:len(a)] == a
    return {frozenset((a, b)) for a in reached for b in reached[a]
            if a != b and a in reached.get(b, ()) and not related(a, b)}


def lines(path):
    """The number of lines of code in a file."""
    text = re.split(r"(?m)^#\[cfg\(test\)\]", path.read_text())[0]
    return sum(1 for line in text.splitlines() if line.strip() and not line.strip().startswith("//"))


def main():
    os.chdir(sys.argv[1] if len(sys.argv) > 1 else ".")
    files, found = uses()
    name = lambda mod: "::".join(mod) or "lib"
    faults = [f"{name(mod)} is in no room: add it to scripts/rooms.py" for mod in files if room(mod) is None]
    if not faults:
        faults += [f"{room(mod)[1]} must not use {room(other)[1]}, which is above it: {name(mod)} uses {name(other)}"
                   for mod in found for other in sorted(found[mod]) if room(mod)[0] > room(other)[0]]
        faults += ["a circle: " + " and ".join(sorted(map(name, pair))) for pair in circles(found)]
    counted = set()
    for ring, places, ceiling in RINGS:
        paths = [path for place in map(pathlib.Path, places)
                 for path in ([place] if place.is_file() else sorted(place.rglob("*.rs")))]
        counted.update(paths)
        total = sum(map(lines, paths))
        print(f"ring {ring}: {total} lines of code, at most {ceiling}")
        if total > ceiling:
            faults.append(f"ring {ring} has {total} lines of code, and its ceiling is {ceiling}")
    faults += [f"{path} is in no ring: add it to scripts/rooms.py" for path in files.values() if path not in counted]
    for fault in faults:
        print(fault, file=sys.stderr)
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
