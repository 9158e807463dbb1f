#!/usr/bin/env bash
# Installs whatever is missing: a server with headers, libclang (with which pgrx reads them), a
# linker.
. "$(dirname "$0")/lib.sh"

command -v cargo >/dev/null || die "no cargo: install a Rust toolchain first (1.89 or newer), for example with rustup"
rust=$(rustc --version | sed 's/^rustc 1\.\([0-9]*\).*/\1/')
[ "$rust" -ge 89 ] || die "rustc 1.$rust is too old: 1.89 or newer is needed"

missing=()
command -v cc >/dev/null || missing+=(build-essential)
# bindgen needs libclang and the compiler's own headers, which Debian's package depends on; the
# check looks for the headers.
if [ -z "${LIBCLANG_PATH:-}" ] &&
    ! ls /usr/lib/llvm-*/lib/clang/*/include/stddef.h /usr/lib/clang/*/include/stddef.h >/dev/null 2>&1; then
    missing+=(libclang-dev)
fi
if [ -z "${PG_CONFIG:-}" ] && ! find_pg_config >/dev/null; then
    missing+=(server)
fi
[ ${#missing[@]} = 0 ] && exit 0

command -v apt-get >/dev/null ||
    die "missing: ${missing[*]}; this script knows apt-get only, install them yourself (server: PostgreSQL 14 to 18 with headers)"

say "installing ${missing[*]} with apt-get (usually a minute)"
export DEBIAN_FRONTEND=noninteractive
as_root apt-get update -qq
packages=()
for item in "${missing[@]}"; do
    if [ "$item" = server ]; then
        # The major version that this release of the distribution supports.
        major=$(LC_ALL=C apt-cache depends postgresql | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p' | head -n 1)
        [ -n "$major" ] || die "apt-get knows no PostgreSQL server"
        packages+=("postgresql-$major" "postgresql-server-dev-$major")
    else
        packages+=("$item")
    fi
done
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
find_pg_config >/dev/null || die "installed, but there is still no pg_config with headers"
