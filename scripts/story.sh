# Sourced by scripts that tell a story: each answer is checked, and the first that is not as told ends it. Whoever sources
# it defines runs ROLE SQL, which prints both and the answer, and sets output, and failed if it failed.
succeeds() { runs "$1" "$2"; [ -z "$failed" ] || die "this should have worked"; }
answers() { succeeds "$1" "$2"; grep -qE "^ *$3" <<<"$output" || die "the answer should have been $3"; }
# is_refused ROLE SQL [PATTERN]
is_refused() {
    runs "$1" "$2"
    [ -n "$failed" ] || die "this should have been refused"
    grep -qE "ERROR:  .*${3:-permission denied}" <<<"$output" || die "refused, but not for the right reason"
}
