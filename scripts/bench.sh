#!/usr/bin/env bash
# Measures everything side by side in one run: the kernel, whole hashes, logins, and their effect on
# other sessions. Writes docs/bench/. QUICK=1 is a trial run of a few minutes that writes to the
# target folder. PARTS="kernel hash" runs only these of kernel, hash, login, overhead and
# neighbours, and writes there too. RENDER=1 only rewrites the report from results.json.
. "$(dirname "$0")/lib.sh"
need_pg_config
mkdir -p "$TARGET"
CARGO_TARGET_DIR=$(realpath "$TARGET")
export CARGO_TARGET_DIR

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    command -v apt-get >/dev/null || die "no node or no npm: install Node 20 or newer, with npm"
    say "installing nodejs and npm with apt-get (usually a minute)"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null
fi

say "what it is compared with, at the versions of bench/requirements.txt and bench/package-lock.json"
venv=$CARGO_TARGET_DIR/bench-venv
[ -x "$venv/bin/pip" ] || python3 -m venv --clear "$venv" || {
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
    python3 -m venv --clear "$venv"
}
"$venv/bin/python" -m pip install -q --disable-pip-version-check -r bench/requirements.txt
export BENCH_NODE=$CARGO_TARGET_DIR/bench-node
mkdir -p "$BENCH_NODE"
# Node looks modules up from the folder of the script.
cp bench/*.mjs "$BENCH_NODE/"
if ! cmp -s bench/package-lock.json "$BENCH_NODE/package-lock.json" || [ ! -d "$BENCH_NODE/node_modules" ]; then
    cp bench/package.json "$BENCH_NODE/"
    (cd "$BENCH_NODE" && cp "$OLDPWD/bench/package-lock.json" . && npm ci --no-audit --no-fund --loglevel=error) ||
        { rm -rf "$BENCH_NODE"; die "npm ci failed in $BENCH_NODE"; }
fi
cargo build --release --locked --quiet --package password-verify-argon2 --example hash_worker
cargo bench --locked --quiet --package password-verify-argon2 --bench ratios --no-run

BENCH_BIN=$("$PG_CONFIG" --bindir)
BENCH_FOLDER=$(mktemp -d "${TMPDIR:-/tmp}/password_verify-bench.XXXXXX")
chown "$PV_SERVER_USER" "$BENCH_FOLDER"
if [ -n "${QUICK:-}${PARTS:-}" ]; then BENCH_OUT=$CARGO_TARGET_DIR/bench-quick; else BENCH_OUT=docs/bench; fi
export BENCH_BIN BENCH_FOLDER BENCH_OUT
finish() {
    # The driver's workers and clients end when their input does.
    if [ -n "${driver:-}" ]; then kill "$driver" 2>/dev/null && wait "$driver" || true; fi
    (cd "$BENCH_FOLDER" && as_server "$BENCH_BIN/pg_ctl" -D data -w -s -m immediate stop 2>/dev/null) || true
    rm -rf "$BENCH_FOLDER"
}
trap finish EXIT
trap 'exit 130' INT TERM

if [ -n "${RENDER:-}" ]; then say "nothing is measured"
elif [ -n "${QUICK:-}${PARTS:-}" ]; then say "a run to try it out (QUICK=1 usually 3 minutes)"
else say "measuring (usually 35 minutes; leave the machine alone)"
fi
# Runs in the background, so that a signal ends the wait and everything is cleaned up.
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=bench "$venv/bin/python" bench/run.py &
driver=$!
wait "$driver" || die "the benchmark did not finish; the server's log ends with: $(tail -n 5 "$BENCH_FOLDER/log" 2>/dev/null)"
driver=
