#!/usr/bin/env bash
# Checks that have never failed prove nothing: each is shown a fault, in a copy, and must find it.
. "$(dirname "$0")/lib.sh"

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

# A fresh copy; then `$2` is done to it, `$3…` must fail, and say `$1`.
must_say() {
    local expected=$1 fault=$2 said
    shift 2
    rm -rf "${copy:?}"/*
    cp -r README.md docs contrib src crates sql scripts "$copy"
    (cd "$copy" && eval "$fault")
    if said=$("$@" 2>&1); then die "no failure: $fault"; fi
    grep -qF -- "$expected" <<<"$said" || die "$fault: expected '$expected', but it said"$'\n'"$said"
    say "$expected"
}

rooms() { python3 scripts/rooms.py "$copy"; }
must_say "must not use gate, which is above it" \
    'sed -i "0,/^use /s//use crate::gate::attempt;\nuse /" src/pg/vault/store/mod.rs' rooms
must_say "a circle: " \
    'sed -i "0,/^use /s//use crate::pg::vault::store::Store;\nuse /" src/pg/vault/blind_index_key.rs' rooms
must_say "is in no room" 'echo "fn toy() {}" >src/toy.rs' rooms
must_say "its ceiling is 3600" 'seq 3000 | sed "s,.*,const A: u8 = 0;," >>src/gate/claim.rs' rooms
must_say "its ceiling is 10150" 'seq 6000 | sed "s,.*,const A: u8 = 0;," >>src/pg/heap/lock.rs' rooms
must_say "its ceiling is 2100" 'seq 2000 | sed "s,.*,const A: u8 = 0;," >>src/pg/worker/tidy.rs' rooms

links() { python3 scripts/links.py "$copy"; }
must_say "docs/architecture.md: ../src/gone.rs" 'echo "[x](../src/gone.rs#y)" >>docs/architecture.md' links

spot() { scripts/pgspot.sh "$copy"/sql/password_verify--*.sql; }
must_say "pv_validate_password" \
    'sed -i "s/ SET search_path = pg_catalog, pg_temp//" sql/password_verify--*.sql' spot
