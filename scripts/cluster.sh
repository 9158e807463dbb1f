# Sourced by scripts that demonstrate or measure: a throw-away server, stopped and removed at the
# end.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_pg_config
bin=$("$PG_CONFIG" --bindir)

# make_cluster NAME: initialises a server in $folder, with the library preloaded and a socket in
# that folder, and does not start it. Configuration lines come from standard input.
make_cluster() {
    folder=$(mktemp -d "${TMPDIR:-/tmp}/password_verify-$1.XXXXXX")
    chown "$PV_SERVER_USER" "$folder"
    trap remove_cluster EXIT
    say "starting a throw-away $("$PG_CONFIG" --version) in $folder (a few seconds)"
    (
        cd "$folder"
        as_server "$bin/initdb" -D "$folder/data" -U admin -A trust -E UTF8 --locale=C --no-sync >/dev/null </dev/null
    )
    {
        echo "shared_preload_libraries = 'password_verify'"
        echo "listen_addresses = ''"
        echo "unix_socket_directories = '$folder'"
        cat
    } | as_server tee -a "$folder/data/postgresql.conf" >/dev/null
}

server() { (cd "$folder" && as_server "$bin/pg_ctl" -D "$folder/data" -l "$folder/log" -w -s "$@"); }
start_cluster() { server start || die "the server does not start: $(cat "$folder/log")"; }

# Leaves the server running if $stay is set.
remove_cluster() {
    end_logins
    [ -z "${stay:-}" ] || return 0
    server -m immediate stop 2>/dev/null || true
    rm -rf "$folder"
}

# Logins beside what is measured, as the application: begin_logins RATE ARGUMENTS... sends so many a second, by pgbench with
# those arguments, until end_logins. What they take, from when each was due, is in files that latencies reads.
logins=
begin_logins() {
    local rate=$1
    shift
    rm -f "$folder"/latency.*
    "$bin/pgbench" -n -M prepared -h "$folder" -U app -c 4 -j 1 -R "$rate" -T 36000 "$@" \
        -l --log-prefix="$folder/latency" shop >/dev/null 2>"$folder/pgbench.err" &
    logins=$!
}
end_logins() { [ -z "$logins" ] || { kill "$logins" && wait "$logins" 2>/dev/null || true; }; logins=; }
now() { date +%s.%N; }
# latencies FROM TO: of the logins that ended in this interval, in milliseconds, in ascending order.
latencies() {
    cat "$folder"/latency.* | awk -v from="$1" -v to="$2" '
        { at = $5 + $6 / 1e6 } at >= from && at <= to { print $3 / 1000 }' | sort -n
}

# The setting of the measurements: cheap hashes, an application's login, eight users.
CHEAP="password_verify.argon2_memory = 7MB
password_verify.argon2_iterations = 5
password_verify.argon2_parallelism = 1"
psql() { "$bin/psql" -X -q -At -v ON_ERROR_STOP=1 -h "$folder" -U admin "$@"; }
sql() { psql -d shop -c "$1"; }
make_shop() {
    psql -d postgres -c 'CREATE DATABASE shop'
    sql "CREATE SCHEMA auth; CREATE EXTENSION password_verify SCHEMA auth; CREATE ROLE app LOGIN;
         GRANT USAGE ON SCHEMA auth TO app; SELECT auth.pv_grant('app', 'verifier')" >/dev/null
    local user
    for user in 1 2 3 4 5 6 7 8; do
        sql "SELECT auth.pv_set_password($user::bigint, 'correct horse battery staple')" >/dev/null
    done
}
