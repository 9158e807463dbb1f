//! Passwords as literals of a simple query, in every spelling.

use super::way::{Way, fails, says, way};

/// (name, statement, in which each `@` is a password).
const SPELLINGS: &[(&str, &str)] = &[
    ("literal", "SELECT * FROM auth.pv_validate_password('42'::text, '@')"),
    ("literal E''", "SELECT * FROM auth.pv_validate_password('42'::text, E'@\\n\\'')"),
    ("literal $$", "SELECT * FROM auth.pv_validate_password('42'::text, $$@$$)"),
    ("literal $tag$", "SELECT * FROM auth.pv_validate_password('42'::text, $tag$@ '$$' @$tag$)"),
    (
        "literal $tag_1$",
        "SELECT * FROM auth.pv_validate_password('42'::text, $tag_1$@$tag$@$tag_1$)",
    ),
    ("literal U&''", "SELECT * FROM auth.pv_validate_password('42'::text, U&'@\\0021')"),
    (
        "literal U&'' UESCAPE",
        "SELECT * FROM auth.pv_validate_password('42'::text, U&'@!0021' UESCAPE '!')",
    ),
    ("literal N''", "SELECT * FROM auth.pv_validate_password('42'::text, N'@')"),
    (
        "literal with doubled quotes",
        "SELECT * FROM auth.pv_validate_password('42'::text, '@''@''''@')",
    ),
    (
        "literal with a backslash",
        "SELECT * FROM auth.pv_validate_password('42'::text, '@\\', '::1'::inet)",
    ),
    ("literal in two lines", "SELECT * FROM auth.pv_validate_password('42'::text, '@'\n  '@')"),
    ("literal over lines", "SELECT * FROM auth.pv_validate_password('42'::text, '@\n@\r\n\t@')"),
    (
        "literal E'' in two lines",
        "SELECT * FROM auth.pv_validate_password('42'::text, E'@\\''\n'@\\'@')",
    ),
    ("concatenated", "SELECT * FROM auth.pv_validate_password('42'::text, '@' || '@' || $$@$$)"),
    ("concat()", "SELECT * FROM auth.pv_validate_password('42'::text, concat('@', '@', 42))"),
    ("format()", "SELECT * FROM auth.pv_validate_password('42'::text, format('%s @', '@'))"),
    ("cast ::", "SELECT * FROM auth.pv_validate_password('42'::text, '@'::varchar::text)"),
    (
        "cast CAST",
        "SELECT * FROM auth.pv_validate_password(CAST('42' AS text), CAST('@' AS varchar(99)))",
    ),
    ("cast text ''", "SELECT * FROM auth.pv_validate_password(text '42', text '@')"),
    ("cast to varchar(n)", "SELECT * FROM auth.pv_validate_password('42'::text, '@'::varchar(99))"),
    (
        "cast to char(n)",
        "SELECT * FROM auth.pv_validate_password('42'::text, '@'::character varying(99))",
    ),
    (
        "beside timestamp(n)",
        "SELECT *, '2026-01-01 00:00:00'::timestamp(3), now()::timestamp (0) FROM auth.pv_validate_password('42'::text, '@')",
    ),
    (
        "beside array bounds",
        "SELECT *, '{1}'::integer[3], (ARRAY[7,8])[1:2] FROM auth.pv_validate_password('42'::text, '@')",
    ),
    (
        "beside interval",
        "SELECT *, interval '1' day, interval(3) '1 s', float(10) '1.5', 1e5, .5, 1.5 FROM auth.pv_validate_password('42'::text, '@')",
    ),
    (
        "beside bit strings",
        "SELECT *, B'0101', X'1F', 1 AS \"it's\" FROM auth.pv_validate_password('42'::text, '@')",
    ),
    (
        "beside LIMIT and FETCH",
        "SELECT * FROM auth.pv_validate_password('42'::text, '@') OFFSET 0 ROWS FETCH FIRST 5 ROWS ONLY",
    ),
    (
        "beside ORDER BY 1",
        "SELECT valid, 7 FROM auth.pv_validate_password('42'::text, '@') GROUP BY 1 ORDER BY 1 LIMIT 3",
    ),
    ("array", "SELECT * FROM auth.pv_validate_password('42'::text, (ARRAY['@', '@'])[1])"),
    (
        "array as text",
        "SELECT * FROM auth.pv_validate_password('42'::text, ('{@,\"@\"}'::text[])[1])",
    ),
    (
        "array of rows",
        "SELECT (SELECT valid FROM auth.pv_validate_password(p.login, p.password)) FROM unnest(ARRAY[ROW('42', '@')::public.pair]) p",
    ),
    (
        "composite",
        "SELECT * FROM auth.pv_validate_password('42'::text, (ROW('42', '@')::public.pair).password)",
    ),
    (
        "composite as text",
        "SELECT * FROM auth.pv_validate_password('42'::text, ('(42,@)'::public.pair).password)",
    ),
    ("json", "SELECT * FROM auth.pv_validate_password('42'::text, '{\"p\":\"@\"}'::jsonb->>'p')"),
    (
        "bytea",
        "SELECT * FROM auth.pv_validate_password('42'::text, convert_from('@'::bytea, 'UTF8'))",
    ),
    ("reversed", "SELECT * FROM auth.pv_validate_password('42'::text, reverse('@'))"),
    ("named =>", "SELECT * FROM auth.pv_validate_password(user_id => '42'::text, password => '@')"),
    ("named :=", "SELECT * FROM auth.pv_validate_password(password := '@', user_id := '42'::text)"),
    (
        "VALUES",
        "SELECT c.* FROM (VALUES ('42', '@'), ('43', '@')) v (login, password), LATERAL auth.pv_check_password(v.login, v.password) c",
    ),
    (
        "WITH",
        "WITH v AS MATERIALIZED (SELECT '@'::text AS password) SELECT c.* FROM v, LATERAL auth.pv_check_password('42'::text, v.password) c",
    ),
    ("select list", "SELECT auth.pv_check_password('42'::text, '@'), '@' AS other"),
    (
        "WHERE",
        "SELECT 1 WHERE (SELECT acceptable FROM auth.pv_check_password('42'::text, '@')) OR '@' = '@'",
    ),
    (
        "ORDER BY",
        "SELECT 1 AS x ORDER BY (SELECT reason FROM auth.pv_check_password('42'::text, '@'))",
    ),
    (
        "CASE",
        "SELECT CASE WHEN 1 = 1 THEN (SELECT reason FROM auth.pv_check_password('42'::text, '@')) ELSE '@' END",
    ),
    ("UNION", "SELECT '@' UNION ALL SELECT reason FROM auth.pv_check_password('42'::text, '@')"),
    ("number", "SELECT * FROM auth.pv_validate_password(42, '@')"),
    (
        "uuid",
        "SELECT * FROM auth.pv_validate_password('2f1e6a0c-7a3b-4c1d-9e8f-0123456789ab'::uuid, '@')",
    ),
    ("upper case", "SELECT * FROM AUTH.PV_VALIDATE_PASSWORD('42'::TEXT, '@')"),
    ("quoted name", "SELECT * FROM \"auth\".\"pv_validate_password\"('42'::text, '@')"),
    ("Unicode name", "SELECT * FROM auth.U&\"pv\\005fvalidate_password\"('42'::text, '@')"),
    (
        "Unicode name with UESCAPE",
        "SELECT * FROM auth.U&\"pv!005fvalidate_password\" UESCAPE '!' ('42'::text, '@')",
    ),
    (
        "name over lines",
        "SELECT * FROM auth . -- '\n pv_validate_password /* ' /* nested */ $$ */\n ('42'::text, '@')",
    ),
    (
        "unqualified name",
        "SET search_path = auth; SELECT * FROM pv_validate_password('42'::text, '@')",
    ),
    ("operator", "SELECT '42'::text OPERATOR(public.=?=) '@'"),
    (
        "comments around",
        "-- it's\nSELECT * FROM auth.pv_validate_password('42'::text, /* 'x */ '@' -- y'\n)",
    ),
    (
        "in a comment",
        "SELECT valid, 'in', 'a' FROM auth.pv_validate_password('42'::text, /* @ */ 'x' -- @\n)",
    ),
    (
        "second of two statements",
        "SELECT 'nothing'; SELECT * FROM auth.pv_validate_password('42'::text, '@')",
    ),
    (
        "first of two statements",
        "SELECT * FROM auth.pv_validate_password('42'::text, '@'); SELECT 'nothing'",
    ),
    (
        "transaction in one query",
        "BEGIN; SELECT * FROM auth.pv_validate_password('42'::text, '@'); COMMIT",
    ),
    (
        "INSERT VALUES",
        "INSERT INTO public.answers (login, valid) VALUES ('x', (SELECT acceptable FROM auth.pv_check_password('42'::text, '@')))",
    ),
    (
        "INSERT SELECT",
        "INSERT INTO public.answers (valid) SELECT acceptable FROM auth.pv_check_password('42'::text, '@') RETURNING *",
    ),
    (
        "UPDATE",
        "UPDATE public.answers SET valid = (SELECT acceptable FROM auth.pv_check_password('42'::text, '@')) WHERE login <> '@'",
    ),
    (
        "DELETE",
        "DELETE FROM public.answers WHERE (SELECT acceptable FROM auth.pv_check_password('42'::text, '@')) AND number = 5",
    ),
    ("EXPLAIN", "EXPLAIN (VERBOSE) SELECT * FROM auth.pv_validate_password('42'::text, '@')"),
    (
        "EXPLAIN ANALYZE",
        "EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM auth.pv_validate_password('42'::text, '@')",
    ),
    (
        "EXPLAIN JSON",
        "EXPLAIN (ANALYZE, VERBOSE, FORMAT json) SELECT * FROM auth.pv_validate_password('42'::text, '@')",
    ),
    (
        "EXPLAIN of EXPLAIN's kind",
        "EXPLAIN (ANALYZE) CREATE TABLE public.explained AS SELECT valid FROM auth.pv_validate_password('42'::text, '@')",
    ),
    (
        "CREATE TABLE AS",
        "CREATE TABLE public.made AS SELECT valid FROM auth.pv_validate_password('42'::text, '@')",
    ),
    (
        "SELECT INTO",
        "SELECT valid INTO public.selected FROM auth.pv_validate_password('42'::text, '@')",
    ),
    ("COPY TO", "COPY (SELECT valid FROM auth.pv_validate_password('42'::text, '@')) TO STDOUT"),
    (
        "COPY INSERT RETURNING TO",
        "COPY (INSERT INTO public.answers (valid) SELECT acceptable FROM auth.pv_check_password('42'::text, '@') RETURNING valid) TO STDOUT",
    ),
    (
        "PREPARE, EXECUTE",
        "PREPARE p AS SELECT * FROM auth.pv_validate_password($1::text, $2); EXECUTE p('42', '@')",
    ),
    (
        "PREPARE with the password",
        "PREPARE p AS SELECT * FROM auth.pv_validate_password('42'::text, '@'); EXECUTE p",
    ),
    (
        "EXPLAIN EXECUTE",
        "PREPARE p AS SELECT * FROM auth.pv_validate_password($1::text, $2); EXPLAIN (ANALYZE, VERBOSE) EXECUTE p('42', '@' || $$@$$)",
    ),
    (
        "CREATE TABLE AS EXECUTE",
        "PREPARE p AS SELECT valid FROM auth.pv_validate_password($1::text, $2); CREATE TABLE public.executed AS EXECUTE p('42', '@')",
    ),
    (
        "cursor",
        "BEGIN; DECLARE c CURSOR FOR SELECT * FROM auth.pv_validate_password('42'::text, '@'); FETCH 1 FROM c; COMMIT",
    ),
    (
        "debug_print_parse",
        "SET debug_print_parse = on; SELECT * FROM auth.pv_validate_password('42'::text, '@')",
    ),
];

pub fn ways() -> Vec<Way> {
    let mut ways: Vec<Way> = SPELLINGS.iter().map(|(name, sql)| says(name, sql)).collect();
    ways.extend([
        way("literal E'' in escapes", |stage| {
            let secret = stage.secret();
            let spelled: String = secret.bytes().map(|it| format!("\\x{it:02x}")).collect();
            let octal: String = secret.bytes().map(|it| format!("\\{it:03o}")).collect();
            let wide: String = secret.bytes().map(|it| format!("\\u{it:04x}")).collect();
            for spelled in [spelled, octal, wide] {
                stage.also(&spelled);
                let sql = "SELECT * FROM auth.pv_validate_password('42'::text, E'";
                stage.ok(&format!("{sql}{spelled}')"));
            }
        }),
        way("literal U&'' in escapes", |stage| {
            let secret = stage.secret();
            let spelled: String = secret.bytes().map(|it| format!("\\{it:04X}")).collect();
            let other: String = secret.bytes().map(|it| format!("!+{it:06X}")).collect();
            for (spelled, end) in [(spelled, ""), (other, " UESCAPE '!'")] {
                stage.also(&spelled);
                let sql = "SELECT * FROM auth.pv_validate_password('42'::text, U&'";
                stage.ok(&format!("{sql}{spelled}'{end})"));
            }
        }),
        way("number without quotes", |stage| {
            let digits = stage.digits(32);
            let sql = "SELECT * FROM auth.pv_validate_password('42'::text,";
            stage.ok(&format!("{sql} {digits}::text)"));
            stage.ok(&format!("{sql} (-{digits})::text)"));
        }),
        way("literal at the end of a long text", |stage| {
            let secret = stage.secret();
            let padding = "/* long */ ".repeat(10_000);
            stage.ok(&format!(
                "SELECT {padding} * FROM auth.pv_validate_password('42'::text, '{secret}')"
            ));
        }),
        way("many literals", |stage| {
            let secret = stage.secret();
            let many = vec![format!("('{secret}')"); 300].join(", ");
            stage.ok(&format!(
                "SELECT count(c.reason) FROM (VALUES {many}) v (p), LATERAL auth.pv_check_password('42'::text, v.p) c"
            ));
        }),
        way("literal with letters of many bytes", |stage| {
            let secret = stage.secret();
            stage.ok(&format!(
                "SELECT 'äß€😀' AS \"ä'€\", * FROM auth.pv_validate_password('ü€😀'::text, '€{secret}😀')"
            ));
        }),
        way("the same statement again and again", |stage| {
            let sql = stage.fill("SELECT * FROM auth.pv_validate_password('42'::text, '@')");
            for _ in 0..3 {
                stage.ok(&sql);
            }
        }),
        way("debug_print_* on", |stage| {
            for what in ["parse", "rewritten", "plan"] {
                stage.ok(&format!("SET debug_print_{what} = on"));
            }
            let sql = stage.fill("SELECT * FROM auth.pv_validate_password('42'::text, '@')");
            stage.ok(&sql);
            let sql = stage.fill("DO $do$ BEGIN PERFORM auth.pv_check_password('42'::text, '@'); END $do$");
            stage.ok(&sql);
            let secrets = [stage.secret()];
            stage.bound("00000", "SELECT * FROM auth.pv_validate_password('42'::text, $1)", &secrets);
        }),
        way("client_min_messages = debug5", |stage| {
            stage.ok("SET client_min_messages = debug5; SET debug_print_plan = on");
            let sql = stage.fill("SELECT * FROM auth.pv_validate_password('42'::text, '@')");
            stage.ok(&sql);
        }),
        fails(
            "other call beside it",
            "42883",
            "SELECT auth.pv_check_password('42'::text, '@'), no_such_function('@')",
        ),
    ]);
    ways
}
