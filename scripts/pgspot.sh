#!/usr/bin/env bash
# pgspot on these files of SQL: what an extension must not do with search_path, owners and replacements.
. "$(dirname "$0")/lib.sh"

venv=$TARGET/lint-venv
[ -x "$venv/bin/python" ] || python3 -m venv "$venv" ||
    {
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
        python3 -m venv --clear "$venv"
    }
"$venv/bin/python" -m pip install -q --disable-pip-version-check -r scripts/lint-requirements.txt
# pgspot knows no bodies that are not texts: it is shown the same ones as texts.
texts=$(mktemp -d)
trap 'rm -rf "$texts"' EXIT
for file; do
    sed -e 's/^    BEGIN ATOMIC$/    AS $function$/' -e 's/^    END;$/$function$;/' "$file" >"$texts/$(basename "$file")"
done
# The one procedure commits, which a SET clause would forbid, so it qualifies every name instead.
"$venv/bin/pgspot" --proc-without-search-path 'extschema.pv_rotate_keys(batch_size integer)' "$texts"/*
