#!/usr/bin/env bash
# scripts/mail-servers.sh [FOLDER | --dovecot]: installs the servers that the keeper reads from in tests: Dovecot as a
# package of Debian, Cyrus unpacked into a folder (Debian has one IMAP server at a time), and an OpenID provider with node
# in the same folder. None of them runs afterwards: every test starts its own, and looks for them in PV_MAIL_SERVERS. With
# --dovecot that one alone.
. "$(dirname "$0")/lib.sh"

folder=${1:-${PV_MAIL_SERVERS:-/tmp/password_verify-mail}}

updated=
install() {
    [ -n "$updated" ] || { as_root apt-get update -qq; updated=1; }
    say "installing $* with apt-get (usually half a minute)"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

command -v apt-get >/dev/null || die "this script knows apt-get only"

if [ ! -x /usr/lib/dovecot/imap ]; then
    install dovecot-imapd
    # Debian starts what it installs. Who had a Dovecot before keeps it as it was.
    if [ -d /run/systemd/system ]; then
        as_root systemctl disable --quiet --now dovecot.service dovecot.socket 2>/dev/null || true
    elif [ -e /run/dovecot/master.pid ]; then
        as_root doveadm stop
    fi
fi
[ "${1:-}" != --dovecot ] || exit 0

missing=()
# A machine of its own for a test.
[ -x /sbin/ip ] || [ -x /usr/sbin/ip ] || missing+=(iproute2)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
[ ${#missing[@]} = 0 ] || install "${missing[@]}"

mkdir -p "$folder"
work=
trap '[ -z "$work" ] || rm -rf "$work"' EXIT
if [ ! -x "$folder/cyrus/usr/lib/cyrus/bin/master" ]; then
    [ -n "$updated" ] || { as_root apt-get update -qq; updated=1; }
    say "unpacking Cyrus (usually half a minute)"
    work=$(mktemp -d "$folder/fetching.XXXXXX")
    # apt-get downloads as a user of its own where it can.
    chmod 755 "$work"
    (cd "$work" && apt-get download -qq cyrus-imapd cyrus-common sasl2-bin 2>/dev/null)
    mkdir "$work/tree"
    libraries=(libsasl2-modules libsasl2-modules-db)
    for package in "$work"/*.deb; do
        dpkg -x "$package" "$work/tree"
        # Its libraries get in nobody's way. Its mail server and its helpers would.
        mapfile -t -O ${#libraries[@]} libraries < <(dpkg-deb --field "$package" Depends | tr ',' '\n' | sed -n 's/^ *\(lib[^ :]*\).*/\1/p; s/^ *\(zlib1g\).*/\1/p' | grep -v -- '-perl$')
    done
    mapfile -t absent < <(for library in "${libraries[@]}"; do
        dpkg-query --show --showformat '${db:Status-Status}' "$library" 2>/dev/null | grep -qx installed || echo "$library"
    done | sort -u)
    [ ${#absent[@]} = 0 ] || install "${absent[@]}"
    chmod -R go+rX "$work/tree"
    # The rename makes a tree appear complete or not at all.
    mv "$work/tree" "$folder/cyrus"
    rm -rf "$work"
fi

# As the lock file has it, and anew where that has changed.
if ! cmp -s tests/oidc/package-lock.json "$folder/oidc/package-lock.json"; then
    say "installing the OpenID provider (usually 5 seconds)"
    work=$(mktemp -d "$folder/fetching.XXXXXX")
    cp tests/oidc/package.json "$work"
    cp tests/oidc/package-lock.json "$work"
    (cd "$work" && npm ci --loglevel=error --no-audit --no-fund --ignore-scripts >/dev/null)
    chmod -R go+rX "$work"
    rm -rf "$folder/oidc"
    mv "$work" "$folder/oidc"
fi
chmod go+rx "$folder"
