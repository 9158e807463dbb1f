# Sourced by demo_keeper.sh: a mail server and the keeper beside the throw-away server of cluster.sh, all on loopback with
# TLS, stopped and removed at the end.
. "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"

dovecot=$(PATH=$PATH:/usr/sbin command -v dovecot) || die "no Dovecot: run scripts/mail-servers.sh --dovecot"
doveadm=$(PATH=$PATH:/usr/sbin command -v doveadm) || die "no doveadm: run scripts/mail-servers.sh --dovecot"
case $("$dovecot" --version) in 2.3.*) ;; *) die "this writes the configuration of Dovecot 2.3, and there is another" ;; esac

# The keeper is nobody where root can make it so.
if [ "$(id -u)" = 0 ]; then
    keeper_user=nobody
    as_keeper() { setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups "$@"; }
else
    keeper_user=$PV_SERVER_USER
    as_keeper() { "$@"; }
fi

# A port that nobody listens on, below those from which connections go out.
free_port() {
    local port
    while :; do
        port=$((RANDOM % 20000 + 10000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

# make_keeper_cluster NAME: writes all files and starts PostgreSQL and Dovecot. There is a database, mail, with nothing
# in it.
make_keeper_cluster() {
    PGPORT=$(free_port)
    imaps=$(free_port)
    export PGPORT
    make_cluster "$1" <<<"port = $PGPORT"
    trap remove_keeper_cluster EXIT
    chmod 711 "$folder"
    mail=$folder/mail
    keeper=$folder/keeper
    make_certificates >"$folder/tls.log" 2>&1 || die "no certificates: $(cat "$folder/tls.log")"
    configure_postgres
    start_cluster
    psql -d postgres -c 'CREATE DATABASE mail'
    configure_dovecot
    as_server "$dovecot" -c "$mail/dovecot.conf" </dev/null >"$folder/dovecot.log" 2>&1 ||
        die "Dovecot does not start: $(cat "$folder/dovecot.log")"
    configure_keeper
}

# Leaves all of it running if $stay is set.
remove_keeper_cluster() {
    [ -z "${stay:-}" ] || return 0
    local file end=$((SECONDS + 5))
    for file in "$folder/keeper/pid" "$folder/mail/run/master.pid"; do
        [ ! -s "$file" ] || kill "$(cat "$file")" || true
    done
    # Dovecot takes that away when it has ended.
    while [ -e "$folder/mail/run/master.pid" ] && [ "$SECONDS" -lt "$end" ]; do sleep 0.1; done
    remove_cluster
}

# For localhost, from an authority of its own.
make_certificates() {
    as_server mkdir "$folder/tls"
    as_server bash -c '
        set -e
        cd "$0"
        new=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
        printf "%s\n" "[req]" distinguished_name=dn x509_extensions=ca "[dn]" "[ca]" basicConstraints=critical,CA:TRUE >ca.conf
        printf "%s\n" subjectAltName=DNS:localhost extendedKeyUsage=serverAuth >server.conf
        openssl req -x509 "${new[@]}" -config ca.conf -keyout ca.key -out ca.pem -subj "/CN=Authority of the demo" -days 30
        for server in postgres dovecot; do
            openssl req "${new[@]}" -keyout $server.key -out $server.csr -subj /CN=$server
            openssl x509 -req -in $server.csr -CA ca.pem -CAkey ca.key -CAcreateserial \
                -extfile server.conf -out $server.pem -days 30
        done' "$folder/tls"
}

# The keeper's login comes over TLS and with its password, or not at all.
configure_postgres() {
    as_server sh -c 'umask 077; echo "demo:$(openssl rand -base64 32)" >"$0"' "$folder/keyring"
    as_server tee -a "$folder/data/postgresql.conf" >/dev/null <<END
password_verify.keyring_file = '$folder/keyring'
listen_addresses = '127.0.0.1'
ssl = on
ssl_cert_file = '$folder/tls/postgres.pem'
ssl_key_file = '$folder/tls/postgres.key'
END
    as_server tee "$folder/data/pg_hba.conf" >/dev/null <<'END'
hostssl mail connector 127.0.0.1/32 scram-sha-256
local   all  connector reject
local   all  all       trust
END
}

# Runs as whoever runs PostgreSQL.
configure_dovecot() {
    local group
    group=$(id -gn "$PV_SERVER_USER")
    as_server mkdir "$mail"
    as_server touch "$mail/users"
    as_server tee "$mail/dovecot.conf" >/dev/null <<END
base_dir = $mail/run
state_dir = $mail/state
log_path = $mail/log
protocols = imap
listen = 127.0.0.1
mail_location = maildir:~
default_internal_user = $PV_SERVER_USER
default_internal_group = $group
default_login_user = $PV_SERVER_USER
first_valid_uid = 1
first_valid_gid = 1
ssl = required
ssl_cert = <$folder/tls/dovecot.pem
ssl_key = <$folder/tls/dovecot.key
passdb {
  driver = passwd-file
  args = $mail/users
}
userdb {
  driver = static
  args = uid=$PV_SERVER_USER gid=$group home=$mail/home/%u allow_all_users=yes
}
# A wrong password makes nobody wait who watches.
auth_failure_delay = 0
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service imap-login {
  chroot =
  inet_listener imap {
    port = 0
  }
  inet_listener imaps {
    port = $imaps
    ssl = yes
  }
}
END
}

# It trusts the authority of the demo instead of the system's.
configure_keeper() {
    dsn_password=$(openssl rand -hex 16)
    mkdir "$keeper"
    chown "$keeper_user" "$keeper"
    install -m 755 "$TARGET/release/pv-keeper" "$keeper/pv-keeper"
    as_keeper sh -c 'umask 077; cat >"$0"' "$keeper/dsn" \
        <<<"host=localhost port=$PGPORT user=connector password=$dsn_password dbname=mail sslmode=verify-full"
    as_keeper tee "$keeper/keeper.toml" >/dev/null <<END
[database]
dsn_file = 'dsn'
ca_file = '$folder/tls/ca.pem'

[connect]
domains = ['localhost']
ports = [$imaps]
permit_loopback_for_tests = true

[log]
level = 'debug'
END
}

pv_keeper() {
    as_keeper env -i "SSL_CERT_FILE=$folder/tls/ca.pem" "$keeper/pv-keeper" --config "$keeper/keeper.toml" "$@"
}

start_keeper() {
    local end=$((SECONDS + 30))
    # Not of this script's session: it goes on when that ends.
    as_keeper setsid env -i "SSL_CERT_FILE=$folder/tls/ca.pem" /bin/sh -c '
        cd "$0"
        echo $$ >pid
        exec ./pv-keeper --config keeper.toml 2>>log' "$keeper" </dev/null >/dev/null 2>&1 &
    until grep -qs '"ready"' "$keeper/log"; do
        [ "$SECONDS" -lt "$end" ] || die "the keeper does not start: $(cat "$keeper/log")"
        sleep 0.1
    done
}

# has_password USER PASSWORD: from now on, at the mail server, which looks once a second.
has_password() {
    local end=$((SECONDS + 30))
    as_server mkdir -p "$mail/home/$1"/{new,cur,tmp}
    as_server sh -c '{ grep -v "^$1:" "$0"; echo "$1:{PLAIN}$2::::::"; } >"$0.new"; mv "$0.new" "$0"' "$mail/users" "$@"
    until as_server "$doveadm" -c "$mail/dovecot.conf" auth test "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || die "the mail server does not take the password"
        sleep 0.2
    done
}

# arrives USER FILE: a mail, from standard input.
arrives() { as_server sh -c 'cat >"$0/tmp/$1"; mv "$0/tmp/$1" "$0/new/$1"' "$mail/home/$1" "$2"; }

# What the mail server says of Anna's mails, and how often it has refused her.
mails_of_anna() { as_server "$doveadm" -c "$mail/dovecot.conf" mailbox status -u anna 'messages unseen' INBOX; }
refusals_of_anna() { grep -c 'auth failed.*user=<anna>' "$mail/log" || true; }
