//! What is redacted, and what is not.
#![allow(clippy::unwrap_used)]

use password_verify_core::redaction::lexer::Backslash;
use password_verify_core::redaction::names::{FUNCTIONS, Names};
use password_verify_core::redaction::report::{Redacted, Report};
use password_verify_core::redaction::statement::Reader;

fn with<T>(listed: &str, backslash: Backslash, read: impl FnOnce(&Reader<'_>) -> T) -> T {
    let names = Names::new(listed.as_bytes());
    let prepared = |name: &[u8]| name == b"known";
    read(&Reader { names: &names, backslash, prepared: &prepared })
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn redacted(sql: &str) -> Option<String> {
    with("my_login, \"Odd Name\"", Backslash::Plain, |reader| {
        reader.redacted(sql.as_bytes()).map(text)
    })
}

/// Every R that is a word of its own or follows a word at once.
fn literals(expected: &str) -> String {
    let mut all = String::new();
    let chars: Vec<char> = expected.chars().collect();
    for (i, c) in chars.iter().enumerate() {
        let word = chars.get(i + 1).is_some_and(|next| next.is_alphanumeric());
        let inside = i > 0 && chars[i - 1].is_uppercase() && chars[i - 1] != 'N';
        if *c == 'R' && !word && !inside { all.push_str(R) } else { all.push(*c) }
    }
    all
}

const R: &str = "'<redacted>'";

#[test]
fn names_are_in_order() {
    assert!(FUNCTIONS.is_sorted());
}

#[test]
fn literals_go_and_the_rest_stays() {
    for (sql, expected) in [
        ("SELECT pv_set_password(1, 'a')", "SELECT pv_set_password(R, R)"),
        ("select AUTH.PV_Set_Password ( 1.5e3,E'a\\'b' )", "select AUTH.PV_Set_Password ( R,R )"),
        ("SELECT \"pv_set_password\"($$a$$, $b$ 'a $$ $b$)", "SELECT \"pv_set_password\"(R, R)"),
        (
            "SELECT U&\"pv!005fset_password\" UESCAPE '!' ('a')",
            "SELECT U&\"pv!005fset_password\" UESCAPE '!' (R)",
        ),
        ("SELECT pv_set_password(U&'d!0061' UESCAPE '!', $1)", "SELECT pv_set_password(R, $1)"),
        (
            "SELECT pv_set_password(N'a', x'1f', b'0', 'a'\n  'b' -- 'c'\n , 0x1F)",
            "SELECT pv_set_password(NR, R, R, R -- 'c'\n , R)",
        ),
        (
            "SELECT pv_set_password(date'2020-01-01') /* 'kept' /* 1 */ */",
            "SELECT pv_set_password(dateR) /* 'kept' /* 1 */ */",
        ),
        (
            "SELECT a FROM t WHERE b = 'x'; SELECT pv_set_password('a');SELECT 'y'",
            "SELECT a FROM t WHERE b = 'x'; SELECT pv_set_password(R);SELECT 'y'",
        ),
        (
            "SELECT pv_set_password('a') UNION SELECT usename FROM pg_user WHERE 1=1",
            "SELECT pv_set_password(R) UNION SELECT usename FROM pg_user WHERE R=R",
        ),
        (
            "PREPARE p AS SELECT pv_set_password($1); EXECUTE P('a'); EXECUTE q('b')",
            "PREPARE p AS SELECT pv_set_password($1); EXECUTE P(R); EXECUTE q('b')",
        ),
        ("EXPLAIN ANALYZE EXECUTE known('a')", "EXPLAIN ANALYZE EXECUTE known(R)"),
        (
            "do $x$ begin perform pv_set_password('a', 5); end $x$",
            "do $x$ begin perform pv_set_password(R, R); end $x$",
        ),
        (
            "DO $$ BEGIN EXECUTE format('SELECT pv_set_password(%L)', 'a'); END $$",
            "DO $$ BEGIN EXECUTE format(R, R); END $$",
        ),
        (
            "DO 'BEGIN PERFORM pv_set_password(''a''); DELETE FROM t; END'",
            "DO 'BEGIN PERFORM pv_set_password(''REDACTED''); DELETE FROM t; END'",
        ),
        ("DO E'BEGIN PERFORM pv_set_password(\\'a\\'); END'", "DO R"),
        (
            "DO $$ BEGIN FOR i IN 1..300 LOOP PERFORM pv_set_password('a'); END LOOP; END $$",
            "DO $$ BEGIN FOR i IN R..R LOOP PERFORM pv_set_password(R); END LOOP; END $$",
        ),
        ("SELECT u&42, pv_set_password('a')", "SELECT u& R, pv_set_password(R)"),
        ("SELECT B.5, pv_set_password(e.1, N'a')", "SELECT B R, pv_set_password(e R, NR)"),
        (
            "SELECT U&\"pv!005fset_password\" UESCAPE $$!$$ ('a')",
            "SELECT U&\"pv!005fset_password\" UESCAPE $$!$$ (R)",
        ),
        // A backslash is what it was when the text could be read.
        ("SELECT pv_set_password('it\\'s', 'a')", "SELECT pv_set_password(R, R)"),
        ("SELECT MY_LOGIN('a')", "SELECT MY_LOGIN(R)"),
        ("COPY \"Odd Name\" FROM 'x'", "COPY \"Odd Name\" FROM R"),
        (
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN pv_set_password('a') THEN 1 END; SELECT 2; END; SELECT pv_set_password('b')",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN pv_set_password('a') THEN 1 END; SELECT 2; END; SELECT pv_set_password(R)",
        ),
        (
            "CREATE TEMP TABLE t AS SELECT pv_set_password('a')",
            "CREATE TEMP TABLE t AS SELECT pv_set_password(R)",
        ),
        (
            "CREATE MATERIALIZED VIEW v AS SELECT pv_set_password('a')",
            "CREATE MATERIALIZED VIEW v AS SELECT pv_set_password(R)",
        ),
        (
            "SELECT pv_set_password('a'::varchar(20)), x::timestamp (3), y::numeric(10, 2)[4], f(12), ARRAY[5], varchar(1234)",
            "SELECT pv_set_password(R::varchar(20)), x::timestamp (3), y::numeric(10, 2)[4], f(R), ARRAY[R], varchar(R)",
        ),
        (
            "SELECT pv_set_password(interval(3) '1 day', 'b'::character varying(5), 'c'::integer[3])",
            "SELECT pv_set_password(interval(3) R, R::character varying(5), R::integer[3])",
        ),
        // What is not complete cannot be read.
        ("SELECT pv_set_password('it's me')", "R"),
        ("SELECT 'a'; SELECT pv_set_password(1) /* ", "R"),
    ] {
        assert_eq!(
            redacted(sql),
            Some(literals(expected).replace("REDACTED", "<redacted>")),
            "{sql}"
        );
    }
}

#[test]
fn what_is_no_call_stays() {
    for sql in [
        "SELECT 'pv_set_password(', 42",
        "SELECT 1 /* pv_set_password('a') */",
        "SELECT 1 -- pv_set_password('a')",
        "SELECT pv_set_password FROM t WHERE a = 'b'",
        "SELECT pv_stats FROM t WHERE a = 'b'",
        "SELECT xpv_set_password('a'), pv_set_passwords('a')",
        "EXECUTE unknown('a')",
        "CREATE OR REPLACE TEMP VIEW v AS SELECT pv_set_password('a')",
        "/* */ create constraint trigger t AFTER INSERT ON u FOR EACH ROW WHEN (pv_set_password('a')) EXECUTE FUNCTION f('b')",
        "CREATE PROCEDURE p() LANGUAGE sql AS $$ SELECT pv_set_password('a') $$",
        "COMMENT ON FUNCTION auth.pv_set_password(text, text) IS 'a'",
        "GRANT EXECUTE ON FUNCTION a.b.pv_set_password(text) TO \"a 'b'\"",
        "SELECT \"execute\" known('a'), odd name",
        "DO $$ BEGIN PERFORM f('a'); /* pv_set_password */ END $$",
        "SELECT \"PV_set_password\"('a')",
        "",
    ] {
        assert_eq!(redacted(sql), None, "{sql}");
    }
}

#[test]
fn in_place_keeps_the_length() {
    for (sql, expected) in [
        (
            "SELECT pv_set_password(1, 22, 'a', 'abcdefghijk', 'abcdefghijklm')",
            "SELECT pv_set_password(0, 00, '<', '<redacted> ', '<redacted>   ')",
        ),
        ("SELECT pv_set_password(U&'a' UESCAPE '!')", "SELECT pv_set_password('<redacted>     ')"),
        ("SELECT pv_set_password(N'ab')", "SELECT pv_set_password(N'<r')"),
        (
            "DO $$BEGIN PERFORM pv_set_password('abc');END$$",
            "DO $$BEGIN PERFORM pv_set_password('<re');END$$",
        ),
        // What does not scan is hidden whole: nobody knows where its literals are.
        ("SELECT pv_set_password(1) /* 'abc", "'<redacted>                     '"),
        ("SELECT pv_set_password(1, \"abc)", "'<redacted>                   '"),
    ] {
        let mut place = sql.as_bytes().to_vec();
        assert!(with("", Backslash::Plain, |reader| reader.redact_in_place(&mut place)));
        assert_eq!(text(place), expected);
    }
}

#[test]
fn backslashes() {
    let sql = br"SELECT pv_set_password('a\', 'z')";
    let hidden = |backslash| with("", backslash, |reader| text(reader.redacted_cut(sql).unwrap()));
    assert_eq!(hidden(Backslash::Plain), format!("SELECT pv_set_password({R}, {R})"));
    // Otherwise it would not end.
    assert_eq!(hidden(Backslash::Escape), format!("SELECT pv_set_password({R}, {R})"));
    assert_eq!(hidden(Backslash::Unknown), format!("SELECT pv_set_password({R}"));
}

fn report(report: &Report<'_>) -> Option<Redacted> {
    with("", Backslash::Plain, |reader| reader.redacted_report(report))
}

const CALL: &str = "SELECT pv_set_password('a', $1)";
const HIDDEN: &str = "SELECT pv_set_password('<redacted>', $1)";

#[test]
fn messages_with_statements() {
    let plan = "Query Text: SELECT pv_set_password('a', 1)\nResult  (cost=0.00..2500.26 rows=1 width=32) (actual time=1.5..2.25 rows=1 loops=1)\n  Output: pv_set_password('a'::text, 1)\nPlanning Time: 0.5 ms";
    let hidden_plan = "Query Text: SELECT pv_set_password('<redacted>', '<redacted>')\nResult  (cost=0.00..2500.26 rows=1 width=32) (actual time=1.5..2.25 rows=1 loops=1)\n  Output: pv_set_password('<redacted>'::text, '<redacted>')\nPlanning Time: 0.5 ms";
    let json = r#"{ "Query Text": "SELECT pv_set_password(E'a\\'\"', 1)", "Plan": { "Total Cost": 0.26, "Output": ["pv_set_password('a'::text)"] } }"#;
    let hidden_json = r#"{ "Query Text": "SELECT pv_set_password('<redacted>', '<redacted>')", "Plan": { "Total Cost": 0.26, "Output": ["pv_set_password('<redacted>'::text)"] } }"#;
    let xml = "<explain><Query-Text>SELECT pv_set_password('a&lt;', 1) &gt; 0</Query-Text><Total-Cost>0.26</Total-Cost></explain>";
    let hidden_xml = "<explain><Query-Text>SELECT pv_set_password('&lt;redacted&gt;', '&lt;redacted&gt;') &gt; '&lt;redacted&gt;'</Query-Text><Total-Cost>0.26</Total-Cost></explain>";
    for (template, head, sql, hidden) in [
        ("statement: %s", "statement: ", CALL, HIDDEN),
        ("statement: %s", "Anweisung: ", CALL, HIDDEN),
        ("duration: %s ms  statement: %s", "duration: 1.25 ms  statement: ", CALL, HIDDEN),
        ("duration: %s ms  bind %s%s%s: %s", "duration: 1.25 ms  bind <unnamed>/c: ", CALL, HIDDEN),
        ("%s %s%s%s: %s", "execute s1: ", CALL, HIDDEN),
        ("duration: %.3f ms  plan:\n%s", "duration: 0.5 ms  plan:\n", plan, hidden_plan),
        ("duration: %.3f ms  plan:\n%s", "duration: 0.5 ms  plan:\n", json, hidden_json),
        ("duration: %.3f ms  plan:\n%s", "duration: 0.5 ms  plan:\n", xml, hidden_xml),
        (
            "AUDIT: %s,%ld",
            "AUDIT: SESSION,1,1,READ,SELECT,,,",
            "\"SELECT pv_set_password('a', 5)\",\"a,b\"",
            "\"SELECT pv_set_password('<redacted>', '<redacted>')\",<redacted>",
        ),
        ("level: %d; %s: %s", "CachedPlanSource: 8 ", CALL, "HIDDEN"),
    ] {
        let message = format!("{head}{sql}");
        let redacted =
            report(&Report { message: message.as_bytes(), template, ..Report::default() });
        let redacted = text(redacted.unwrap().message.unwrap());
        match hidden {
            "HIDDEN" => assert!(redacted.ends_with(HIDDEN), "{redacted}"),
            _ => assert_eq!(redacted, format!("{head}{hidden}")),
        }
    }
}

#[test]
fn fields_of_an_error() {
    let redacted = report(&Report {
        message: b"invalid input syntax for type bigint: \"a\"",
        template: "invalid input syntax for type %s: \"%s\"",
        state: "22P02",
        context: Some(b"unnamed portal parameter $1 = 'a\nb'\nSQL statement \"SELECT 'c', \"d\"\n\"\nPL/pgSQL expression \"'d' || 5\"\nPL/pgSQL function f() line 3 at PERFORM\nCOPY t, line 1, column c: \"x\ny\"\nSQL function \"f\" statement 1"),
        internal_query: Some(b"SELECT 'a' FROM"),
        statement: Some(CALL.as_bytes()),
        ..Report::default()
    })
    .unwrap();
    let all = |field: Option<Vec<u8>>| text(field.unwrap());
    assert_eq!(all(redacted.message), "invalid input syntax for type bigint: \"<redacted>\"");
    assert_eq!(
        all(redacted.context),
        format!(
            "unnamed portal parameter $1 = {R}\nSQL statement \"SELECT {R}, \"d\"\n\"\nPL/pgSQL expression \"{R} || {R}\"\nPL/pgSQL function f() line 3 at PERFORM\nCOPY t, line 1, column c: <redacted>\nSQL function \"f\" statement 1"
        )
    );
    assert_eq!(all(redacted.internal_query), "SELECT '<' FROM");
    assert_eq!(all(redacted.statement), HIDDEN);
}

#[test]
fn details() {
    let of = |message: &str, template: &str, state: &str, detail: &str, is_call: bool| {
        let (message, detail) = (message.as_bytes(), Some(detail.as_bytes()));
        let report =
            report(&Report { message, template, state, detail, is_call, ..Report::default() });
        report.and_then(|redacted| redacted.detail).map(text)
    };
    let parameters = "parameters: $1 = 'a', $2 = NULL";
    assert_eq!(
        of(&format!("execute <unnamed>: {CALL}"), "%s %s%s%s: %s", "00000", parameters, false),
        Some(format!("parameters: $1 = {R}, $2 = NULL"))
    );
    assert_eq!(
        of(
            "statement: EXECUTE p('b')",
            "statement: %s",
            "00000",
            &format!("prepare: PREPARE p AS {CALL}"),
            false
        ),
        Some(format!("prepare: PREPARE p AS {HIDDEN}"))
    );
    assert_eq!(
        of(
            "server process (PID 1) was terminated",
            "%s",
            "00000",
            "Failed process was running: DO $$ BEGIN PERFORM pv_set_password('a",
            false
        ),
        Some(format!("Failed process was running: DO {R}"))
    );
    let processes = "Process 11 waits for ShareLock on transaction 745; blocked by process 12.\nProcess 12 waits.\nProcess 11: SELECT pv_set_password('a\nProcess 7: ', 5)\nProcess 12: SELECT 'kept', 6";
    assert_eq!(
        of("deadlock detected", "deadlock detected", "40P01", processes, false),
        Some(format!(
            "Process 11 waits for ShareLock on transaction 745; blocked by process 12.\nProcess 12 waits.\nProcess 11: SELECT pv_set_password({R}, {R})\nProcess 12: SELECT 'kept', 6"
        ))
    );
    assert_eq!(
        of("duplicate key", "duplicate key", "23505", "Key (a)=(b) already exists.", true),
        Some("Key (a)=(<redacted>) already exists.".into())
    );
    assert_eq!(of("plan:", "%s", "00000", "   {PLANNEDSTMT :constvalue 4 [ 97 98 ]}", true), None);
}

#[test]
fn trees_are_hidden() {
    let tree = Report {
        message: b"plan:",
        detail: Some(b"{CONST [ 97 ]}"),
        routine: "elog_node_display",
        is_call: true,
        ..Report::default()
    };
    assert_eq!(text(report(&tree).unwrap().detail.unwrap()), "<redacted>");
}

#[test]
fn other_messages_stay() {
    let other = Report {
        message: b"statement: SELECT 'a', 42",
        template: "statement: %s",
        statement: Some(b"SELECT 'a', 42"),
        ..Report::default()
    };
    assert_eq!(report(&other), None);
    // In a statement that calls one, a message of a trigger stays as it is.
    let raised = Report {
        message: b"order 42 is not 'paid'",
        template: "%s",
        state: "P0001",
        is_call: true,
        ..Report::default()
    };
    assert_eq!(report(&raised).unwrap().message, None);
}

#[test]
fn lists_of_names() {
    let calls = |list: &str, sql: &str| {
        let names = Names::new(list.as_bytes());
        let none = |_: &[u8]| false;
        Reader { names: &names, backslash: Backslash::Plain, prepared: &none }.calls(sql.as_bytes())
    };
    let list = "my_login, app.signup ,\"My\"\"Table\",\"a,b\", pr\u{fc}fe,";
    for sql in [
        "SELECT MY_login()",
        "SELECT signup()",
        "TABLE \"My\"\"Table\"",
        "TABLE x.\"a,b\"",
        "SELECT pr\u{fc}fe()",
    ] {
        assert!(calls(list, sql), "{sql}");
    }
    for sql in ["SELECT app()", "TABLE \"my\"\"table\"", "TABLE a", "SELECT 'my_login'"] {
        assert!(!calls(list, sql), "{sql}");
    }
    assert!(!calls("", "SELECT ''") && !calls(" , ,", "SELECT ','"));
}

/// However odd a text is, it takes time in proportion to its length.
#[test]
fn odd_texts_take_no_longer_than_others() {
    use std::time::Instant;
    let call = "SELECT pv_set_password('a')";
    let odd: [(&str, &str); 12] = [
        ("operators and comments", "+/**/"),
        ("EXECUTE", "EXECUTE known;"),
        ("quotation marks", "'"),
        ("dollars", "$a$"),
        ("dollars without an end", "$a"),
        ("Unicode identifiers", "u&\""),
        ("numbers and identifiers", "1u&\"a\""),
        ("nested comments", "/*"),
        ("names", "b,\"b\","),
        ("semicolons", ";"),
        ("prepared", "PREPARE a AS SELECT 1;"),
        ("labels", "\n: 1"),
    ];
    for (what, piece) in odd {
        let took = |times: usize| {
            let text = format!("{call}{}", piece.repeat(times));
            let message =
                format!("duration: 1 ms  plan:\nQuery Text: {call}\n(cost={}", piece.repeat(times));
            let report = Report {
                message: message.as_bytes(),
                template: "duration: %.3f ms  plan:\n%s",
                context: Some(text.as_bytes()),
                statement: Some(text.as_bytes()),
                is_call: true,
                ..Report::default()
            };
            let error = Report {
                message: b"column \"b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b\" does not exist",
                template: "column \"%s\" does not exist",
                state: "42703",
                ..report
            };
            let fastest = (0..3).map(|_| {
                let start = Instant::now();
                with("", Backslash::Plain, |reader| {
                    reader.redacted_report(&report);
                    reader.redacted_report(&error);
                });
                start.elapsed()
            });
            fastest.min().unwrap()
        };
        // Eight times the text: eight times the time, and not sixty-four.
        let (short, long) = (took(2_000), took(16_000));
        assert!(long < short * 24, "{what}: {short:?}, {long:?}");
    }
}
