//! Statements that fail: when they are read, analysed, or at work.

use super::stage::Stage;
use super::way::{Way, binds, fails, way};
use super::wire::{Batch, Value};

const FAILURES: &[(&str, &str, &str)] = &[
    (
        "syntax error after it",
        "42601",
        "SELECT * FROM auth.pv_validate_password('42'::text, '@') nonsense here ;; nonsense",
    ),
    ("syntax error before it", "42601", "SELEKT * FROM auth.pv_validate_password('42'::text, '@')"),
    ("syntax error at it", "42601", "SELECT * FROM auth.pv_validate_password('42'::text '@')"),
    (
        "syntax error at it, in dollars",
        "42601",
        "SELECT * FROM auth.pv_validate_password('42'::text $$@$$)",
    ),
    (
        "bracket that does not close",
        "42601",
        "SELECT * FROM auth.pv_validate_password('42'::text, '@'",
    ),
    (
        "quote that does not close",
        "42601",
        "SELECT * FROM auth.pv_validate_password('42'::text, '@",
    ),
    ("quote that is lost", "42601", "SELECT * FROM auth.pv_validate_password('42'::text, p@')"),
    ("a quote too many", "42601", "SELECT * FROM auth.pv_validate_password('42'::text, 'it's @')"),
    (
        "dollars that do not close",
        "42601",
        "SELECT * FROM auth.pv_validate_password('42'::text, $x$@",
    ),
    (
        "comment that does not close",
        "42601",
        "SELECT * FROM auth.pv_validate_password('42'::text, '@') /* ",
    ),
    ("bad escape", "22025", "SELECT * FROM auth.pv_validate_password('42'::text, E'@\\u12')"),
    (
        "bad Unicode escape",
        "42601",
        "SELECT * FROM auth.pv_validate_password('42'::text, U&'@\\12')",
    ),
    (
        "bytes that are no text",
        "22021",
        "SELECT * FROM auth.pv_validate_password('42'::text, E'@\\xff')",
    ),
    (
        "second statement with a syntax error",
        "42601",
        "SELECT * FROM auth.pv_validate_password('42'::text, '@'); SELECT nonsense here here",
    ),
    ("unknown column", "42703", "SELECT nonsense FROM auth.pv_validate_password('42'::text, '@')"),
    ("unknown table", "42P01", "SELECT auth.pv_validate_password('42'::text, '@') FROM nonsense"),
    ("unknown schema", "3F000", "SELECT nonsense.pv_validate_password('42'::text, '@')"),
    ("not on the search path", "42883", "SELECT pv_validate_password('42'::text, '@')"),
    (
        "too many arguments",
        "42883",
        "SELECT auth.pv_validate_password('42'::text, '@', NULL, '@', 5)",
    ),
    ("wrong types", "42883", "SELECT auth.pv_validate_password('42'::text, '@'::bytea)"),
    (
        "wrong name of an argument",
        "42883",
        "SELECT auth.pv_validate_password(login => '42'::text, password => '@')",
    ),
    (
        "identifier instead of a literal",
        "42703",
        "SELECT auth.pv_validate_password('42'::text, \"@\")",
    ),
    ("no quotes", "42703", "SELECT auth.pv_validate_password('42'::text, p@)"),
    ("no quotes, begins with a digit", "42601", "SELECT auth.pv_validate_password('42'::text, 7@)"),
    (
        "UNION of other types",
        "22P02",
        "SELECT 1 UNION SELECT '@' UNION SELECT length(reason) FROM auth.pv_check_password('42'::text, 'x')",
    ),
    ("id and password exchanged", "22P02", "SELECT auth.pv_validate_password('@'::bigint, '42')"),
    (
        "id and password exchanged, cast",
        "22P02",
        "SELECT auth.pv_validate_password(CAST('@' AS uuid), '42')",
    ),
    (
        "id and password exchanged, at work",
        "22P02",
        "SELECT auth.pv_validate_password(concat('@', '')::bigint, '42')",
    ),
    (
        "number that is too long",
        "22P02",
        "SELECT auth.pv_validate_password(left('12@', 99)::integer, '42')",
    ),
    ("address", "22P02", "SELECT * FROM auth.pv_validate_password('42'::text, 'x', '@'::inet)"),
    ("time", "22007", "SELECT * FROM auth.pv_set_password('42'::text, 'x', false, '@')"),
    ("boolean", "22P02", "SELECT * FROM auth.pv_set_password('42'::text, 'x', '@', NULL)"),
    (
        "malformed json",
        "22P02",
        "SELECT * FROM auth.pv_store_secret('42'::text, 'x', 'x', '{\"a\": @}')",
    ),
    (
        "json at work",
        "22P02",
        "SELECT * FROM auth.pv_store_secret('42'::text, 'x', 'x', concat('{\"a\": ', '@')::jsonb)",
    ),
    (
        "malformed array",
        "22P02",
        "SELECT * FROM auth.pv_validate_password('42'::text, ('{@'::text[])[1])",
    ),
    (
        "malformed composite",
        "22P02",
        "SELECT * FROM auth.pv_validate_password('42'::text, ('(@)'::public.pair).password)",
    ),
    (
        "enumeration",
        "22P02",
        "SELECT * FROM auth.pv_validate_password('42'::text, 'x', NULL), (SELECT '@'::pg_lsn) x",
    ),
    (
        "regular expression",
        "2201B",
        "SELECT * FROM auth.pv_validate_password('42'::text, substring('x' FROM concat('[@', '')))",
    ),
    (
        "type by name",
        "42704",
        "SELECT * FROM auth.pv_validate_password('42'::text, 'x@'::regtype::text)",
    ),
    (
        "table by name",
        "42P01",
        "SELECT * FROM auth.pv_validate_password('42'::text, concat('\"@\"')::regclass::text)",
    ),
    (
        "role by name",
        "22023",
        "SELECT * FROM auth.pv_validate_password('42'::text, 'x'), set_config('role', '@', false)",
    ),
    (
        "division by zero beside it",
        "22012",
        "SELECT auth.pv_check_password('42'::text, '@'), 1 / (length('@') - 32)",
    ),
    (
        "more than one row",
        "21000",
        "SELECT auth.pv_check_password('42'::text, (SELECT '@' FROM generate_series(1, 2)))",
    ),
    ("our own error, NULL", "22004", "SELECT auth.pv_check_password(NULL::text, '@')"),
    ("our own error, long id", "22023", "SELECT auth.pv_check_password(repeat('@', 20), '@')"),
    (
        "read-only transaction",
        "25006",
        "BEGIN READ ONLY; SELECT auth.pv_create_password('42'::text, '@')",
    ),
    (
        "a broken CHECK beside it",
        "23514",
        "INSERT INTO public.answers (number, login, valid) SELECT 1000, '@', acceptable FROM auth.pv_check_password('42'::text, '@')",
    ),
    (
        "number out of range",
        "22003",
        "SELECT auth.pv_check_password((9223372036854775807 + length('@'))::bigint, '@')",
    ),
    (
        "unknown cursor",
        "34000",
        "SELECT auth.pv_check_password('42'::text, '@'); FETCH 1 FROM nonsense",
    ),
    (
        "CREATE TABLE AS, exists",
        "42P07",
        "CREATE TABLE public.answers AS SELECT valid FROM auth.pv_validate_password('42'::text, '@')",
    ),
    (
        "PREPARE, exists",
        "42P05",
        "PREPARE p AS SELECT 1; PREPARE p AS SELECT * FROM auth.pv_validate_password('42'::text, '@')",
    ),
    (
        "EXECUTE, wrong number",
        "42601",
        "PREPARE p (text) AS SELECT * FROM auth.pv_validate_password('42'::text, $1); EXECUTE p('@', '@')",
    ),
    (
        "EXECUTE, wrong type",
        "22P02",
        "PREPARE p (bigint) AS SELECT * FROM auth.pv_validate_password($1, 'x'); EXECUTE p('@')",
    ),
    ("EXECUTE of what is not there", "26000", "EXECUTE pv_validate_password('42', '@')"),
];

pub fn ways() -> Vec<Way> {
    let mut ways: Vec<Way> =
        FAILURES.iter().map(|(name, state, sql)| fails(name, state, sql)).collect();
    ways.extend([
        binds("bound id and password exchanged", "22P02", "SELECT auth.pv_validate_password($1::bigint, $2)", 2),
        binds("bound id and password exchanged, at work", "22P02", "SELECT auth.pv_validate_password($1::text::bigint, $2)", 2),
        binds("bound uuid", "22P02", "SELECT auth.pv_validate_password($1::uuid, $2)", 2),
        binds("bound address", "22P02", "SELECT auth.pv_validate_password('42'::text, $1, $2::text::inet)", 2),
        binds("bound json", "22P02", "SELECT * FROM auth.pv_store_secret('42'::text, 'x', $1, $2)", 2),
        binds("bound array", "22P02", "SELECT * FROM auth.pv_validate_password('42'::text, ($1::text[])[1])", 1),
        binds("bound, division by zero", "22012", "SELECT auth.pv_check_password('42'::text, $1), 1 / (length($1) - 32)", 1),
        binds("bound, our own error", "22004", "SELECT auth.pv_check_password(NULL::text, $1)", 1),
        binds("bound, a broken CHECK", "23514", "INSERT INTO public.answers (number, login, valid) SELECT 1000, $1, acceptable FROM auth.pv_check_password('42'::text, $1)", 1),
        binds("Parse with a syntax error", "42601", "SELECT * FROM auth.pv_validate_password('42'::text, '@') nonsense here here", 0),
        binds("Parse with an unknown column", "42703", "SELECT nonsense FROM auth.pv_validate_password('42'::text, '@')", 0),
        binds("Parse of two statements", "42601", "SELECT 1; SELECT * FROM auth.pv_validate_password('42'::text, '@')", 0),
        way("in a transaction that has failed", |stage| {
            stage.simple("22012", "BEGIN; SELECT 1/0");
            let sql = stage.fill("SELECT * FROM auth.pv_validate_password('42'::text, '@')");
            stage.simple("25P02", &sql);
        }),
        way("bound in a transaction that has failed", |stage| {
            let (sql, secret) = (stage.fill("SELECT *, '@' FROM auth.pv_validate_password('42'::text, $1)"), stage.secret());
            stage.sent("00000", &Batch::default().parse("s", &sql).sync());
            stage.simple("22012", "BEGIN; SELECT 1/0");
            let batch = Batch::default().bind("", "s", &[Value::Text(&secret)]);
            stage.sent("25P02", &batch.execute("", 0).sync());
            stage.bound("25P02", &sql, &[secret]);
        }),
        way("a broken UNIQUE beside it", |stage| {
            let code = stage.digits(18);
            stage.simple(
                "23505",
                &format!(
                    "INSERT INTO public.codes SELECT {code}, acceptable
                       FROM generate_series(1, 2), auth.pv_check_password('42'::text, '{code}')"
                ),
            );
        }),
        way("no permission", |stage| {
            let stranger = stage.open(&stage.room.stranger);
            let sql = stage.fill("SELECT * FROM auth.pv_validate_password('42'::text, '@')");
            let reply = stage.at(stranger).simple(&sql);
            stage.expect("42501", &reply, &sql);
            let secret = stage.secret();
            let sql = "SELECT * FROM auth.pv_validate_password('42'::text, $1)";
            let reply = stage.at(stranger).extended(sql, &[Value::Text(&secret)]);
            stage.expect("42501", &reply, sql);
        }),
        way("id and password exchanged, not logged", |stage| {
            unlogged(stage, "22P02", "SELECT auth.pv_validate_password('@'::bigint, '42')");
        }),
        way("syntax error, not logged", |stage| {
            unlogged(stage, "42601", "SELECT auth.pv_validate_password('42'::text, '@') nonsense here");
        }),
        way("deep in brackets", |stage| {
            let superuser = stage.open("postgres");
            let sql = "SET max_stack_depth = '100kB'";
            let reply = stage.at(superuser).simple(sql);
            stage.expect("00000", &reply, sql);
            let sql = stage.fill("SELECT * FROM auth.pv_validate_password('42'::text, '@')");
            let deep = format!("{sql} WHERE {}true", "NOT ".repeat(3000));
            let reply = stage.at(superuser).simple(&deep);
            stage.expect("54001", &reply, &sql);
        }),
    ]);
    ways
}

/// Only the client gets the error.
fn unlogged(stage: &mut Stage<'_>, state: &str, sql: &str) {
    let quiet = stage.open(&stage.room.quiet);
    let sql = stage.fill(sql);
    let reply = stage.at(quiet).simple(&sql);
    stage.expect(state, &reply, &sql);
}
