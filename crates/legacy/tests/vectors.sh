#!/usr/bin/env bash
# Makes tests/vectors.txt. Needs Debian 12, node and npm; installs php-cli, and everything else into a
# temporary folder, with a PostgreSQL 15 of its own (which refuses to run as root).
#
#     crates/legacy/tests/vectors.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

PIP=(passlib==1.7.4 Django==5.2.19 Werkzeug==3.1.9 bcrypt==4.0.1 argon2-cffi==25.1.0)
NPM=(firebase-scrypt@2.2.0 @better-auth/utils@0.5.1)
BIN=/usr/lib/postgresql/15/bin

work=$(mktemp -d)
chmod 755 "$work"
if [ "$(id -u)" = 0 ]; then
    as_server() { setpriv --reuid=postgres --regid=postgres --clear-groups env HOME=/tmp "$@"; }
    chown postgres "$work"
    as_root() { "$@"; }
else
    as_server() { "$@"; }
    as_root() { sudo "$@"; }
fi
stop() {
    as_server "$BIN/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap stop EXIT

command -v php >/dev/null || as_root apt-get install -y -qq php-cli >/dev/null
mkdir "$work/wordpress"
(cd "$work/wordpress" && apt-get download -qq wordpress 2>/dev/null && dpkg -x wordpress_*.deb .)

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check "${PIP[@]}"
# Werkzeug as it was before 2.3, beside the other one.
"$work/venv/bin/pip" install -q --disable-pip-version-check --target "$work/werkzeug" Werkzeug==2.0.3
mkdir "$work/dovecot"
(cd "$work/dovecot" && apt-get download -qq dovecot-core libexttextcat-2.0-0 libsodium23 liblua5.3-0 libstemmer0d 2>/dev/null
    for package in *.deb; do dpkg -x "$package" .; done)
mkdir "$work/node"
(cd "$work/node" && npm install --silent --no-save "${NPM[@]}" >/dev/null)

as_server "$BIN/initdb" -D "$work/data" -A trust -U postgres --encoding=UTF8 --locale=C.UTF-8 >/dev/null
as_server "$BIN/pg_ctl" -D "$work/data" -w -l "$work/log" \
    -o "-c listen_addresses='' -c unix_socket_directories='$work' -c fsync=off" start >/dev/null

libcrypt=$(dpkg-query -W -f '${Version}' libcrypt1)
dovecot=$(cd "$work/dovecot" && dpkg-deb -f dovecot-core_*.deb Version)
wordpress=$(cd "$work/wordpress" && ls wordpress_*.deb | cut -d_ -f2)
{
    echo "# Made by crates/legacy/tests/vectors.sh with:"
    echo "# ${PIP[*]} ${NPM[*]}"
    echo "# libxcrypt $libcrypt, PHP $(php -r 'echo PHP_VERSION;'), WordPress $wordpress (Debian), $(openssl version | cut -d' ' -f1,2), $("$BIN/postgres" --version), Werkzeug 2.0.3, Dovecot $dovecot (Debian)"
    echo "# System, format, user id, password in hexadecimal (- is empty), hash; tabs between."
    WORDPRESS=$work/wordpress/usr/share/wordpress NODE_PATH=$work/node/node_modules PSQL=$BIN/psql PGHOST=$work \
        "$work/venv/bin/python" vectors.py
    DOVECOT=$work/dovecot OLD_WERKZEUG=$work/werkzeug NODE_PATH=$work/node/node_modules \
        "$work/venv/bin/python" vectors_more.py
} >"$work/vectors.txt"
mv "$work/vectors.txt" vectors.txt
