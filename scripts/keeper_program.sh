#!/usr/bin/env bash
# Measures the keeper's program with PostgreSQL and Dovecot on this machine, all of them started for it, with fsync on.
# Writes docs/keeper-program-figures.md. PARTS=slow,idle prints those alone and writes nothing.
. "$(dirname "$0")/lib.sh"
need_pg_config
out=${OUT:-docs/keeper-program-figures.md}

# Hosts are told apart by their names: this library has the keeper look them up in a file.
if ! ls /usr/lib/*/libnss_wrapper.so >/dev/null 2>&1; then
    command -v apt-get >/dev/null || die "libnss_wrapper is missing"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libnss-wrapper >/dev/null
fi

say "building (the first time usually 5 to 8 minutes, then a minute)"
folder=$(mktemp -d "${TMPDIR:-/tmp}/password_verify-figures.XXXXXX")
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
cargo bench --locked --package password-verify-keeper --bench figures --no-run
# As it is installed: the build for figures has what tests of the program need.
cargo build --release --locked --package password-verify-keeper
cp "$TARGET/release/pv-keeper" "$folder"

say "measuring (usually 25 minutes)"
PV_KEEPER=$folder/pv-keeper cargo bench --locked --package password-verify-keeper --bench figures >"$folder/body"
[ -z "${PARTS:-}" ] || { cat "$folder/body"; exit; }

dovecot=$("$(PATH=$PATH:/usr/sbin command -v dovecot)" --version)
{
    cat <<HEAD
# What the keeper's program costs

Measured by \`make keeper-program-figures\` on $(date -u +%Y-%m-%d): $(nproc --all) processors
($(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)), $("$PG_CONFIG" --version), Dovecot ${dovecot%% *}, a local disk with fsync on.
PostgreSQL, Dovecot, the keeper and the application are on this one machine, which is shared: compare ratios, not machines.
Keeper and extension are built in release mode. [docs/keeper-figures.md](keeper-figures.md) has the tables' own part.

HEAD
    sed '${/^$/d}' "$folder/body"
} >"$out"
cat "$out"
