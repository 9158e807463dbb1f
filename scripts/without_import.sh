#!/usr/bin/env bash
# Users whose hashes came from another system meet a library that was built without import formats: each call
# about one of them is an error, never `wrong`; all others are as before; and nothing is lost.
. "$(dirname "$0")/cluster.sh"

make_cluster without-import <<<"$CHEAP"
finish() {
    remove_cluster
    # As it was found.
    scripts/build.sh && scripts/install.sh
}
trap finish EXIT
start_cluster
make_shop
sql "SELECT auth.pv_grant('app', 'enroller')" >/dev/null

# The slow one stays as it was made, the fast one is wrapped.
BCRYPT='$2b$04$E2zMiFD6CER8OUVZQXoz4urtTTvCJRXG2WC3.KuhhB3j3w2C//NUS'
SHA1='{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g='
sql "SELECT auth.pv_import_hash('slow', '$BCRYPT'), auth.pv_import_hash('fast', '$SHA1')" >/dev/null

app() { "$bin/psql" -X -q -At -h "$folder" -U app -d shop -v VERBOSITY=verbose -c "$1" 2>&1 || true; }
must() {
    local said
    said=$(app "$2")
    [[ $said == *"$1"* ]] || die "$2: expected '$1', but it said"$'\n'"$said"
    say "$2: $1"
}
validate="SELECT valid, reason FROM auth.pv_validate_password"

server stop
WITHOUT_IMPORT=1 scripts/build.sh
scripts/install.sh
start_cluster
for user in slow fast; do
    must 'ERROR:  55000' "$validate('$user', 'password')"
    must 'ERROR:  55000' "$validate('$user', 'wrong')"
    must 'ERROR:  55000' "SELECT * FROM auth.pv_change_password('$user', 'password', 'velvet anvil under monsoon')"
done
must 't|' "$validate(1::bigint, 'correct horse battery staple')"
must 'f|invalid_credentials' "$validate(1::bigint, 'wrong')"
must 't|' "SELECT success, reason FROM auth.pv_create_password('new', 'velvet anvil under monsoon')"
said=$(psql -d shop -c "SELECT reason FROM auth.pv_import_hash('another', '$BCRYPT')" 2>&1 || true)
[[ $said == *unsupported_format* ]] || die "pv_import_hash said $said"

server stop
scripts/build.sh
scripts/install.sh
start_cluster
for user in slow fast; do must 't|' "$validate('$user', 'password')"; done
