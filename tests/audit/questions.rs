//! What an auditor asks about one user or one client: right, and answered by an index.
#![allow(clippy::unwrap_used, clippy::panic)]

use password_verify_tests::calls::{create, manage, validate};
use password_verify_tests::cluster::server;
use password_verify_tests::query::{number, text};
use password_verify_tests::trail::settle;
use password_verify_tests::{ALL_KINDS, Answer, GOOD, KEEPER_KINDS, Site, WRONG, sqlstate};
use postgres::{Client, SimpleQueryMessage};

/// Rows as text, in order.
fn rows(client: &mut Client, sql: &str) -> Vec<String> {
    let sql = format!("SELECT pg_catalog.to_jsonb(r)::text FROM ({sql}) r");
    client.query(&sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

/// Some events of three users, with changes that were committed and rolled back, and open folds.
fn lively() -> Site {
    let site = Site::on(server(&[]));
    let mut app = site.login_with(&ALL_KINDS);
    for user in ["alice", "bob", "carol"] {
        assert_eq!(create(&mut app, user, GOOD), Answer::yes());
        assert_eq!(validate(&mut app, user, GOOD), Answer::yes());
        assert_eq!(validate(&mut app, user, WRONG), Answer::wrong());
        assert_eq!(validate(&mut app, user, WRONG), Answer::wrong());
        assert!(manage(&mut app, "pv_disable_user", user));
    }
    let mut open = app.transaction().unwrap();
    open.query("SELECT auth.pv_enable_user('bob'::text)", &[]).unwrap();
    open.rollback().unwrap();
    // PostgreSQL and events write the last one differently.
    for (user, client) in [
        ("alice", "192.0.2.7"),
        ("bob", "2001:db8::7"),
        ("bob", "192.0.2.7"),
        ("carol", "::1.2.3.4"),
        ("carol", "::ffff:192.0.2.8"),
    ] {
        let sql = "SELECT auth.pv_validate_password($1::text, $2, $3::text::inet)";
        app.query(sql, &[&user, &WRONG, &client]).unwrap();
    }
    settle(&mut site.admin());
    site
}

#[test]
fn the_answers_are_those_of_the_view() {
    let site = lively();
    let mut admin = site.admin();
    let newest = "at DESC, epoch DESC, seq DESC";
    let by_place = "epoch DESC, seq DESC, at DESC";
    assert!(number(&mut admin, "SELECT count(*) FROM auth.pv_events WHERE epoch IS NULL") > 0);
    for (question, of_the_view, order) in [
        ("auth.pv_user_events('bob'::text, NULL, 1000)", "user_id = 'bob'", newest),
        ("auth.pv_user_events('nobody'::text)", "user_id = 'nobody'", newest),
        ("auth.pv_user_events('alice'::text, '2000-01-01')", "user_id = 'alice'", newest),
        ("auth.pv_user_events('alice'::text, '-infinity')", "user_id = 'alice'", newest),
        ("auth.pv_user_events('alice'::text, 'infinity')", "false", newest),
        ("auth.pv_client_events('192.0.2.7')", "client_addr = '192.0.2.7'", newest),
        ("auth.pv_client_events('192.0.2.7/24')", "client_addr = '192.0.2.7'", newest),
        ("auth.pv_client_events('2001:db8:0::7')", "client_addr = '2001:db8::7'", newest),
        ("auth.pv_client_events('::102:304')", "client_addr = '::1.2.3.4'", newest),
        ("auth.pv_client_events('192.0.2.8')", "client_addr = '192.0.2.8'", newest),
        ("auth.pv_client_events('::ffff:192.0.2.8')", "client_addr = '192.0.2.8'", newest),
        ("auth.pv_recent_events(1000)", "true", by_place),
    ] {
        let answer = rows(&mut admin, &format!("SELECT * FROM {question}"));
        let expected = format!("SELECT * FROM auth.pv_events WHERE {of_the_view} ORDER BY {order}");
        assert_eq!(answer, rows(&mut admin, &expected), "{question}");
        assert_eq!(answer.is_empty(), of_the_view == "false" || question.contains("nobody"));
    }
    let outcomes = "SELECT string_agg(DISTINCT outcome, ' ' ORDER BY outcome) FROM auth.pv_user_events('bob'::text, NULL, 1000) WHERE xid IS NOT NULL";
    assert_eq!(text(&mut admin, outcomes), "committed rolled_back");
}

#[test]
fn ids_of_every_type_and_in_every_spelling() {
    let site = Site::on(server(&[]));
    let mut app = site.login();
    let uuid = "5F3A1B2C-0000-4000-8000-0123456789ab";
    for sql in [
        "SELECT auth.pv_create_password(44::bigint, $1)".to_owned(),
        format!("SELECT auth.pv_create_password('{uuid}'::uuid, $1)"),
    ] {
        app.query(&sql, &[&GOOD]).unwrap();
    }
    settle(&mut site.admin());
    for id in [
        "44::bigint",
        "'44'::text",
        &format!("'{uuid}'::uuid"),
        &format!("'{}'::text", uuid.to_lowercase()),
    ] {
        for (function, expected) in [("pv_user", 1), ("pv_user_events", 1)] {
            let sql = format!("SELECT count(*) FROM auth.{function}({id})");
            assert_eq!(number(&mut site.admin(), &sql), expected, "{sql}");
        }
    }
    let users = "SELECT * FROM auth.pv_users ORDER BY user_id";
    let one_by_one = "SELECT u.* FROM auth.pv_users v, auth.pv_user(v.user_id) u ORDER BY user_id";
    assert_eq!(rows(&mut site.admin(), one_by_one), rows(&mut site.admin(), users));
    assert_eq!(number(&mut site.admin(), "SELECT count(*) FROM auth.pv_user('nobody'::text)"), 0);
    assert_eq!(number(&mut site.admin(), "SELECT count(*) FROM auth.pv_user(''::text || 'x')"), 0);
}

#[test]
fn as_many_rows_as_were_asked_for_and_pages_that_are_whole() {
    let site = lively();
    let mut admin = site.admin();
    let all = rows(
        &mut admin,
        "SELECT epoch, seq FROM auth.pv_recent_events(10000) WHERE epoch IS NOT NULL",
    );
    let (mut pages, mut before) = (Vec::new(), "9223372036854775807, 0".to_owned());
    loop {
        let sql = format!("SELECT epoch, seq FROM auth.pv_recent_events(3, {before})");
        let page = admin.query(&sql, &[]).unwrap();
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        before = format!("{}, {}", last.get::<_, i64>(0), last.get::<_, i64>(1));
        pages.extend(page.iter().map(|row| {
            format!("{{\"seq\": {}, \"epoch\": {}}}", row.get::<_, i64>(1), row.get::<_, i64>(0))
        }));
    }
    assert_eq!(pages, all);
    for question in [
        "pv_recent_events(50, 1, NULL)",
        "pv_recent_events(50, NULL, 1)",
        "pv_client_events(NULL)",
        "pv_user_events(NULL::bigint)",
        "pv_user(NULL::text)",
        "pv_user(NULL::uuid)",
    ] {
        let sql = format!("SELECT * FROM auth.{question}");
        assert_eq!(sqlstate(admin.query(&sql, &[])), "22004", "{sql}");
    }
    for max_rows in ["0", "-1", "10001", "2147483647", "NULL"] {
        for question in [
            "pv_user_events('bob'::text, NULL, ",
            "pv_client_events('192.0.2.7', NULL, ",
            "pv_recent_events(",
            "pv_events_after(NULL, NULL, ",
        ] {
            let sql = format!("SELECT * FROM auth.{question}{max_rows})");
            assert_eq!(
                sqlstate(admin.query(&sql, &[])),
                if max_rows == "NULL" { "22004" } else { "22023" },
                "{sql}"
            );
        }
    }
}

/// Before anybody has run ANALYZE, too: an answer reads some pages, not the table.
#[test]
fn an_answer_reads_a_few_pages_of_a_large_trail() {
    let site = lively();
    let mut admin = site.admin();
    admin
        .batch_execute(
            "SET synchronous_commit = off;
             INSERT INTO password_verify.event
             SELECT 1, 1000 + i, e.at + i * interval '1 ms', e.at + i * interval '1 ms', 1, action, outcome,
                    CASE WHEN i % 2 = 0 THEN 'busy' ELSE 'u' || i END, '198.51.100.' || i % 250, login_role, acting_role,
                    peer_addr, certificate_subject, certificate_serial, application_name, pid, CASE WHEN i % 10 = 0 THEN i END,
                    alert, detail, user_nonce, mac
               FROM generate_series(1, 200000) i, (SELECT * FROM password_verify.event WHERE action = 'create' LIMIT 1) e",
        )
        .unwrap();
    let pages =
        number(&mut admin, "SELECT pg_catalog.pg_relation_size('password_verify.event') / 8192");
    assert!(pages > 4000, "{pages}");
    for prepared in [
        "SELECT 1",
        "VACUUM ANALYZE password_verify.event",
        // Settings of whoever asks.
        "SET enable_indexscan = off; SET enable_sort = off; SET enable_nestloop = off; SET row_security = off;
         SET plan_cache_mode = force_generic_plan; SET work_mem = '64kB'; SET random_page_cost = 1000",
    ] {
        admin.batch_execute(prepared).unwrap();
        for question in [
            "pv_user_events('busy'::text)",
            "pv_user_events('u77'::text)",
            "pv_user_events('nobody'::text)",
            "pv_user_events('busy'::text, '2000-01-01', 50)",
            "pv_client_events('198.51.100.7')",
            "pv_recent_events()",
            "pv_recent_events(50, 1, 100000)",
            "pv_events_after(1, 100000, 50)",
            "pv_events_after(NULL, NULL, 50)",
            "pv_user('bob'::text)",
        ] {
            let read = |admin: &mut Client| {
                let sql = format!(
                    "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM auth.{question}"
                );
                let SimpleQueryMessage::Row(plan) = &admin.simple_query(&sql).unwrap()[1] else {
                    panic!("no plan")
                };
                let plan: serde_json::Value = serde_json::from_str(plan.get(0).unwrap()).unwrap();
                let blocks = |name: &str| plan[0]["Plan"][name].as_i64().unwrap();
                blocks("Shared Hit Blocks") + blocks("Shared Read Blocks")
            };
            // The first call also reads catalogs.
            read(&mut admin);
            let read = read(&mut admin);
            assert!(read < 800, "{question} reads {read} of {pages} pages after {prepared}");
        }
    }
}

#[test]
fn the_feed_is_complete_and_in_order() {
    let site = lively();
    let mut admin = site.admin();
    let all = rows(&mut admin, "SELECT epoch, seq FROM password_verify.event ORDER BY epoch, seq");
    let (mut fed, mut place) = (Vec::new(), "NULL, NULL".to_owned());
    loop {
        let sql = format!("SELECT epoch, seq, event::text FROM auth.pv_events_after({place}, 4)");
        let page = admin.query(&sql, &[]).unwrap();
        let Some(last) = page.last() else { break };
        place = format!("{}, {}", last.get::<_, i64>(0), last.get::<_, i64>(1));
        for row in &page {
            let (epoch, seq): (i64, i64) = (row.get(0), row.get(1));
            let event: serde_json::Value = serde_json::from_str(row.get(2)).unwrap();
            assert_eq!(event["event"]["id"], format!("{epoch}.{seq}"));
            fed.push(format!("{{\"seq\": {seq}, \"epoch\": {epoch}}}"));
        }
    }
    assert_eq!(fed, all);
    let about_bob = "SELECT count(*) FROM auth.pv_events_after(NULL, NULL, 1000) WHERE event->'related'->'user' ? 'bob' AND event->'user'->>'id' = 'bob'";
    let expected = "SELECT count(*) FROM password_verify.event WHERE user_id = 'bob'";
    assert_eq!(number(&mut admin, about_bob), number(&mut admin, expected));
    for place in ["NULL, 1", "1, NULL"] {
        let sql = format!("SELECT * FROM auth.pv_events_after({place})");
        assert_eq!(sqlstate(admin.query(&sql, &[])), "22004", "{sql}");
    }
    let end = "SELECT count(*) FROM auth.pv_events_after(9223372036854775807, 9223372036854775807)";
    assert_eq!(number(&mut admin, end), 0);
}

#[test]
fn only_auditors_ask() {
    let site = Site::on(server(&[]));
    let questions = [
        "pv_user(1)",
        "pv_user_events(1)",
        "pv_client_events('192.0.2.7')",
        "pv_recent_events()",
        "pv_events_after(NULL, NULL)",
    ];
    for (number, kind) in ALL_KINDS.iter().chain(&KEEPER_KINDS).enumerate() {
        let role = format!("asks_{number}");
        site.admin()
            .batch_execute(&format!("CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA auth TO {role}; SELECT auth.pv_grant('{role}', '{kind}')"))
            .unwrap();
        let mut asks = site.cluster.connect(&role, &site.database);
        for question in questions {
            let answer = asks.query(&format!("SELECT * FROM auth.{question}"), &[]);
            match answer {
                Ok(_) => assert_eq!(*kind, "auditor", "{question}"),
                answer => {
                    assert_ne!(*kind, "auditor", "{question}");
                    assert_eq!(sqlstate(answer), "42501");
                }
            }
        }
    }
}

/// An auditor, and an application that owns a schema, try what has come to mind.
#[test]
fn questions_are_no_way_in() {
    let site = lively();
    let mut auditor = site.login_with(&["auditor"]);
    let role: String = auditor.query_one("SELECT current_user::text", &[]).unwrap().get(0);
    site.admin()
        .batch_execute(&format!(
            "CREATE SCHEMA mine AUTHORIZATION {role}; GRANT TEMPORARY ON DATABASE {} TO {role}",
            site.database
        ))
        .unwrap();
    let questions = [
        "pv_user('bob'::text)",
        "pv_user_events('bob'::text)",
        "pv_client_events('192.0.2.7')",
        "pv_recent_events()",
        "pv_events_after(NULL, NULL)",
    ];
    let answers = |auditor: &mut Client| -> Vec<Vec<String>> {
        let ask = |question| rows(auditor, &format!("SELECT * FROM auth.{question}"));
        questions.map(ask).into()
    };
    let before = answers(&mut auditor);
    assert!(before.iter().all(|answer| !answer.is_empty()));
    // What a question is made of, under names of their own that come first.
    auditor
        .batch_execute(
            "CREATE FUNCTION mine.host(inet) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'mine'; END $$;
             CREATE FUNCTION mine.mine(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'mine'; END $$;
             CREATE FUNCTION mine.unnest(anyarray) RETURNS SETOF anyelement LANGUAGE plpgsql AS $$ BEGIN RAISE 'mine'; END $$;
             CREATE OPERATOR mine.= (LEFTARG = text, RIGHTARG = text, FUNCTION = mine.mine);
             CREATE TEMP TABLE event (user_id text);
             SET search_path = mine, pg_temp, pg_catalog",
        )
        .unwrap();
    assert_eq!(answers(&mut auditor), before);
    // In parallel workers, which are not the client.
    auditor
        .batch_execute(
            "RESET search_path;
             CREATE FUNCTION mine.asks() RETURNS bigint LANGUAGE plpgsql PARALLEL SAFE AS
             $$ BEGIN RETURN (SELECT count(*) FROM auth.pv_user_events('bob'::text)); END $$",
        )
        .unwrap();
    auditor
        .batch_execute("SET debug_parallel_query = on")
        .or_else(|_| auditor.batch_execute("SET force_parallel_mode = on"))
        .unwrap();
    assert_eq!(sqlstate(auditor.query("SELECT mine.asks()", &[])), "25000");
    // What they are made of is for nobody else, and neither are the tables.
    for sql in [
        "SELECT * FROM password_verify.users(NULL)",
        "SELECT * FROM password_verify.folds()",
        "SELECT * FROM password_verify.events_of('bob', NULL, NULL, 2147483647)",
        "SELECT * FROM password_verify.shown('{}')",
        "SELECT password_verify.place_of('bob'::text)",
        "SELECT * FROM password_verify.event",
    ] {
        assert_eq!(sqlstate(auditor.query(sql, &[])), "42501", "{sql}");
    }
    let uuid_of_a_place =
        "SELECT * FROM auth.pv_user('00000000-0000-0000-0000-000000000000'::uuid)";
    assert!(auditor.query(uuid_of_a_place, &[]).unwrap().is_empty(), "the first row is no user");
}

/// Somebody asks and does not go on: nobody waits for that.
#[test]
fn a_question_that_is_left_open_stops_nobody() {
    let site = lively();
    let mut auditor = site.login_with(&["auditor"]);
    auditor
        .batch_execute(
            "BEGIN ISOLATION LEVEL SERIALIZABLE;
             SELECT * FROM auth.pv_recent_events(); SELECT * FROM auth.pv_user('bob'::text);
             SELECT * FROM auth.pv_events_after(NULL, NULL)",
        )
        .unwrap();
    let mut app = site.login_with(&ALL_KINDS);
    app.batch_execute("SET statement_timeout = '5s'").unwrap();
    assert_eq!(validate(&mut app, "alice", WRONG), Answer::wrong());
    assert_eq!(create(&mut app, "dora", GOOD), Answer::yes());
    assert!(manage(&mut app, "pv_enable_user", "bob"));
    assert_eq!(validate(&mut app, "bob", GOOD), Answer::yes());
    site.admin().batch_execute("VACUUM password_verify.event").unwrap();
}
