//! Mails and attachments as an application reads them, from results as the keeper delivers them, and from any others.
#![allow(clippy::unwrap_used)]

use password_verify_tests::keeper::{
    KeptSite, acknowledge, deliver, finish, request, requests, results, store, take,
};
use password_verify_tests::query::{number, text};
use password_verify_tests::sqlstate;
use password_verify_tests::trail::wait_until;
use postgres::Client;

/// A request of user 42 that the keeper has taken, and both connections.
fn leased(kept: &KeptSite) -> (Client, Client, i64) {
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    store(&mut app, "42", "inbox", "x");
    let job = request(&mut app, "42", "inbox");
    assert_eq!(take(&mut keeper), Some(job));
    // What a session writes by itself is no matter.
    app.batch_execute("SET DateStyle = German; SET TimeZone = 'America/Sao_Paulo'").unwrap();
    (app, keeper, job)
}

/// Each row in words, where there is something in it.
fn mails(app: &mut Client, job: i64, after: i64) -> Vec<String> {
    let sql = "SELECT json_strip_nulls(json_build_object(
                   'seq', seq, 'mailbox', mailbox, 'uidvalidity', uidvalidity, 'uid', uid,
                   'received', to_char(received AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'),
                   'date', to_char(date AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'),
                   'sender', sender, 'recipients', recipients, 'cc', cc, 'subject', subject, 'message_id', message_id,
                   'text', text, 'raw', encode(raw, 'escape'), 'size', size, 'attachments', attachments,
                   'truncated', NULLIF(truncated, false), 'note', note))::text
                 FROM auth.pv_read_mail($1, $2)";
    let rows = app.query(sql, &[&job, &after]).unwrap();
    rows.iter().map(|row| row.get::<_, String>(0).replace('\n', "").replace(" : ", ":")).collect()
}

#[test]
fn a_mail_is_a_row() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper, job) = leased(&kept);
    let some = r#"{"mailbox": "INBOX", "uidvalidity": 4294967295, "mails": [
        {"uid": 7, "size": 400, "received": "2026-11-27T10:00:00+01:00", "date": "2026-11-27T09:59:58Z",
         "from": "Ann B. <ann@example.org>", "to": ["bob@example.org", "Carl <c@example.org>"], "cc": ["d@example.org"],
         "subject": "Gr\u00fc\u00dfe", "message_id": "1@example.org", "text": "hello",
         "attachments": [{"part": "2", "name": "a.pdf", "type": "application/pdf", "size": 3}]},
        {"uid": 9, "size": 500000, "truncated": true, "raw": "RnJvbTogYQo=", "note": "unparsed"},
        {"uid": 4294967295, "note": "unreadable"},
        {"uid": 10, "size": 3, "text": "x", "text_truncated": true, "to": [], "attachments": []}]}"#;
    deliver(&mut keeper, job, some);
    deliver(&mut keeper, job, r#"{"mailbox": "INBOX", "reset": true, "uidvalidity": 5}"#);
    let of = r#""mailbox":"INBOX","uidvalidity""#;
    let first = format!(
        r#"{{"seq":1,{of}:4294967295,"uid":7,"received":"2026-11-27 09:00:00","date":"2026-11-27 09:59:58","sender":"Ann B. <ann@example.org>","recipients":["bob@example.org","Carl <c@example.org>"],"cc":["d@example.org"],"subject":"Grüße","message_id":"1@example.org","text":"hello","size":400,"attachments":[{{"name":"a.pdf","part":"2","size":3,"type":"application/pdf"}}]}}"#
    );
    let all = [
        first,
        format!(
            r#"{{"seq":1,{of}:4294967295,"uid":9,"raw":"From: a\n","size":500000,"truncated":true,"note":"unparsed"}}"#
        ),
        format!(r#"{{"seq":1,{of}:4294967295,"uid":4294967295,"note":"unreadable"}}"#),
        format!(
            r#"{{"seq":1,{of}:4294967295,"uid":10,"recipients":[],"text":"x","size":3,"attachments":[],"truncated":true}}"#
        ),
        format!(r#"{{"seq":2,{of}:5,"note":"mailbox_reset"}}"#),
    ];
    let squeezed = |rows: Vec<String>| -> Vec<String> {
        rows.into_iter()
            .map(|row| row.replace(r#"": "#, r#"":"#).replace(r#", ""#, r#",""#))
            .collect()
    };
    assert_eq!(squeezed(mails(&mut app, job, 0)), all);
    assert_eq!(squeezed(mails(&mut app, job, 1)), all[4..]);
    assert!(mails(&mut app, job, 2).is_empty() && mails(&mut app, job + 1, 0).is_empty());
    // As with any other result.
    let acknowledge = "SELECT auth.pv_ack_mail($1, $2)";
    let mut done =
        |up_to: i64| -> bool { app.query_one(acknowledge, &[&job, &up_to]).unwrap().get(0) };
    assert!(done(1) && !done(1));
    finish(&mut keeper, job, "done", "ok");
    assert!(done(2) && !done(2));
    assert!(requests(&mut app, "42").is_empty());
    kept.assert_sound();
}

#[test]
fn no_date_is_an_error() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper, job) = leased(&kept);
    let dates = [
        ("2026-11-27T10:00:00Z", "2026-11-27 10:00:00"),
        ("2026-11-27T10:00:00+01:00", "2026-11-27 09:00:00"),
        ("2026-11-27T10:00:00-03:30", "2026-11-27 13:30:00"),
        ("2026-01-01T00:30:00+14:00", "2025-12-31 10:30:00"),
        ("2016-12-31T23:59:60Z", "2017-01-01 00:00:00"),
        ("2024-02-29T00:00:00Z", "2024-02-29 00:00:00"),
        ("2000-02-29T23:59:59+23:59", "2000-02-29 00:00:59"),
        ("1000-01-01T00:00:00+23:59", "0999-12-31 00:01:00"),
        ("9998-12-31T23:59:59-23:59", "9999-01-01 23:58:59"),
        ("1969-12-31T23:59:59Z", "1969-12-31 23:59:59"),
        ("2026-10-18T00:30:00Z", "2026-10-18 00:30:00"),
        // None of these is one.
        ("2023-02-29T00:00:00Z", ""),
        ("1900-02-29T00:00:00Z", ""),
        ("2026-04-31T00:00:00Z", ""),
        ("2026-00-01T00:00:00Z", ""),
        ("2026-13-01T00:00:00Z", ""),
        ("2026-01-00T00:00:00Z", ""),
        ("2026-01-32T00:00:00Z", ""),
        ("2026-99-99T99:99:99Z", ""),
        ("2026-01-01T24:00:00Z", ""),
        ("2026-01-01T00:60:00Z", ""),
        ("2026-01-01T00:00:61Z", ""),
        ("2026-01-01T00:00:00+25:99", ""),
        ("2026-01-01T00:00:00+24:00", ""),
        ("2026-01-01T00:00:00+01:60", ""),
        ("2026-01-01T00:00:00", ""),
        ("2026-01-01T00:00:00Zx", ""),
        ("2026-01-01T00:00:00Z\\n", ""),
        ("2026-01-01 00:00:00Z", ""),
        ("\u{662}\u{660}\u{662}\u{666}-01-01T00:00:00Z", ""),
        ("0000-01-01T00:00:00Z", ""),
        ("0999-12-31T23:59:59Z", ""),
        ("9999-12-31T23:59:59Z", ""),
        ("65535-01-01T00:00:00Z", ""),
        ("-001-01-01T00:00:00Z", ""),
        ("infinity", ""),
        ("now", ""),
        ("epoch", ""),
        ("", ""),
    ];
    for (i, (date, _)) in dates.iter().enumerate() {
        let field = ["date", "received"][i % 2];
        deliver(
            &mut keeper,
            job,
            &format!(r#"{{"mails": [{{"uid": {i}, "{field}": "{date}"}}]}}"#),
        );
    }
    let sql = "SELECT COALESCE(to_char(COALESCE(date, received) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), ''), uid
                 FROM auth.pv_read_mail($1)";
    let read = app.query(sql, &[&job]).unwrap();
    assert_eq!(read.len(), dates.len());
    for (i, (date, expected)) in dates.iter().enumerate() {
        assert_eq!((read[i].get::<_, &str>(0), read[i].get(1)), (*expected, i as i64), "{date}");
    }
    // What was read as one is the one that PostgreSQL reads.
    for (date, expected) in dates.iter().filter(|(_, expected)| !expected.is_empty()) {
        let sql = format!(
            "SELECT to_char('{date}'::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')"
        );
        if !date.contains("23:59-") && !date.contains("+23") && !date.contains("-23:") {
            assert_eq!(text(&mut app, &sql), *expected, "{date}");
        }
    }
}

/// Whatever is in one result, the mails of all others are read, and none is passed over without a word.
#[test]
fn no_result_keeps_the_others_from_being_read() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper, job) = leased(&kept);
    let values = [
        "null",
        "true",
        "\"\"",
        "\"x\"",
        "[]",
        "{}",
        "-1",
        "1.5",
        "1e400",
        "99999999999999999999",
        "[null, 1, {}]",
        "[[\"a\"]]",
        "\"QQ\"",
        "\"QQ=\"",
        "\"Q===\"",
        "\"QUJD=\"",
        "\"Q U J D\"",
        "\"\\n\"",
        "\"\u{fc}\"",
        "{\"uid\": 1}",
    ];
    let fields = [
        "uid",
        "size",
        "received",
        "date",
        "from",
        "to",
        "cc",
        "subject",
        "message_id",
        "text",
        "raw",
        "attachments",
        "truncated",
        "note",
    ];
    let mut delivered = 0;
    for value in values {
        deliver(&mut keeper, job, value);
        for field in
            ["mails", "mailbox", "uidvalidity", "reset", "uid", "part", "offset", "data", "last"]
        {
            deliver(&mut keeper, job, &format!(r#"{{"{field}": {value}}}"#));
        }
        let mails = fields.map(|field| format!(r#"{{"uid": 1, "{field}": {value}}}"#));
        deliver(&mut keeper, job, &format!(r#"{{"mails": [{}, {value}]}}"#, mails.join(", ")));
        delivered += 11;
    }
    deliver(&mut keeper, job, r#"{"mailbox": "INBOX", "mails": [{"uid": 8, "text": "here"}]}"#);
    let sql = "SELECT count(DISTINCT seq), count(*), count(*) FILTER (WHERE note = 'other'), max(text) FILTER (WHERE seq = $2)
                 FROM auth.pv_read_mail($1)";
    let row = app.query_one(sql, &[&job, &(delivered + 1)]).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get(3)), (delivered + 1, Some("here")));
    let (rows, other): (i64, i64) = (row.get(1), row.get(2));
    assert!(rows > delivered + 20 * 14 && other > delivered / 2, "{rows}, {other}");
    let sql = "SELECT count(*), count(DISTINCT seq), count(data) FROM auth.pv_read_attachment($1)";
    let row = app.query_one(sql, &[&job]).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (delivered + 1, delivered + 1));
    // A text without anything in it, four letters and twenty digits may be base64.
    assert_eq!(row.get::<_, i64>(2), 3);
    kept.assert_sound();
}

#[test]
fn much_mail_is_read_in_turns_and_lies_in_no_file() {
    let kept = KeptSite::new();
    let (mut app, mut keeper, job) = leased(&kept);
    let body = "x".repeat(9000);
    let mut uid = 0;
    for _ in 0..24 {
        let mails: Vec<String> = (0..25)
            .map(|_| {
                uid += 1;
                format!(r#"{{"uid": {uid}, "text": "{body}", "raw": "{}"}}"#, "QUJD".repeat(100))
            })
            .collect();
        deliver(
            &mut keeper,
            job,
            &format!(r#"{{"mailbox": "INBOX", "mails": [{}]}}"#, mails.join(", ")),
        );
    }
    let (mut after, mut read, mut turns) = (0i64, Vec::new(), 0);
    loop {
        let sql = "SELECT seq, uid, length(text) + length(raw) FROM auth.pv_read_mail($1, $2)";
        let rows = app.query(sql, &[&job, &after]).unwrap();
        let Some(last) = rows.last() else { break };
        after = last.get(0);
        assert!(rows.iter().all(|row| row.get::<_, i32>(2) == 9300));
        read.extend(rows.iter().map(|row| row.get::<_, i64>(1)));
        turns += 1;
        assert!(acknowledge(&mut app, job, after));
    }
    assert_eq!(read, (1..=uid).collect::<Vec<i64>>(), "in order, and each once");
    assert!((2..=6).contains(&turns), "{turns}");
    drop((app, keeper));
    let mut admin = kept.admin();
    let reported = "SELECT count(*) FROM pg_stat_database WHERE datname = current_database() AND xact_commit > 30";
    wait_until("the sessions have reported", || number(&mut admin, reported) == 1);
    let files = "SELECT temp_files FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(number(&mut admin, files), 0);
}

#[test]
fn an_attachment_is_its_pieces_in_order() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper, job) = leased(&kept);
    // Half a mebibyte in base64 at a time, and every byte that there is.
    let sql = "SELECT auth.pv_deliver($1::bigint, jsonb_build_object('mailbox', 'INBOX', 'uidvalidity', 5, 'uid', 7, 'part', '2.1',
                   'offset', i * 524288, 'data', translate(encode(convert_to(repeat(chr(65 + i), 390000), 'UTF8') || '\\x00ff80', 'base64'), E'\\n', ''),
                   'last', i = 4)) FROM generate_series(0, 4) i";
    assert_eq!(keeper.query(sql, &[&job]).unwrap().len(), 5);
    let (mut after, mut pieces) = (0i64, Vec::new());
    loop {
        let sql =
            "SELECT seq, concat_ws(' ', mailbox, uidvalidity, uid, part, position, last), data
                     FROM auth.pv_read_attachment($1, $2)";
        let rows = app.query(sql, &[&job, &after]).unwrap();
        let Some(last) = rows.last() else { break };
        after = last.get(0);
        pieces.extend(rows.iter().map(|row| (row.get::<_, String>(1), row.get::<_, Vec<u8>>(2))));
    }
    for (i, (about, data)) in pieces.iter().enumerate() {
        let expected = format!("INBOX 5 7 2.1 {} {}", i * 524_288, if i == 4 { "t" } else { "f" });
        assert_eq!(*about, expected);
        let mut bytes = vec![65 + i as u8; 390_000];
        bytes.extend([0, 0xff, 0x80]);
        assert!(*data == bytes, "{i}");
    }
    assert_eq!((pieces.len(), after), (5, 5));
    finish(&mut keeper, job, "done", "ok");
    let sql = "SELECT auth.pv_ack_mail($1, 5)";
    assert!(app.query_one(sql, &[&job]).unwrap().get::<_, bool>(0));
    assert!(results(&mut app, job, 0).is_empty());
    assert_eq!(sqlstate(keeper.query("SELECT auth.pv_read_attachment(1)", &[])), "42501");
}
