//! Dumps that are whole, cut off, or others.

use super::*;
use std::io::Cursor;

const ACCOUNTS: &str = "COPY password_verify.account (blind_index, user_id, disabled_at, change_required_at, tokens_revoked_at, created_at, seal) FROM stdin;\n\\.\n";
const HEAD: &str = "COPY password_verify.credential (blind_index, user_id, verifier, must_change, expires_at, created_at, changed_at) FROM stdin;\n";

fn row(user: &str) -> String {
    let now = "2026-01-02 03:04:05+00";
    format!("0123abcd-0000-0000-0000-000000000000\t{user}\t$x\tf\t\\N\t{now}\t{now}\n")
}

/// The user ids, with `-` for lines that are not rows, and the final result.
fn read(text: &str) -> (Vec<(u64, String)>, Option<String>) {
    read_of(text, Wanted { hashes: true, secrets: false, vaults: false })
}

fn read_of(text: &str, wanted: Wanted) -> (Vec<(u64, String)>, Option<String>) {
    let mut dump = Dump::of(Input::of(Cursor::new(text.to_owned().into_bytes())), wanted);
    let (mut found, progress) = (Vec::new(), Progress::none());
    loop {
        match dump.next(&progress, None) {
            Ok(Some(Found::Hash(at, row))) => found.push((at.line, row.user_id)),
            Ok(Some(Found::Secret(at, row))) => found.push((at.line, row.name)),
            Ok(Some(Found::Malformed(at))) => found.push((at.line, "-".into())),
            Ok(Some(Found::Vault(row))) => found.push((0, row.user_id)),
            Ok(None) => return (found, None),
            Err(failure) => return (found, Some(failure.to_string())),
        }
    }
}

fn failure(text: &str) -> String {
    read(text).1.unwrap()
}

#[test]
fn rows_of_our_section_only() {
    let fake = format!("{HEAD}{}\\.\n", row("fake"));
    let (a, b) = (row("a"), row("b\\\\"));
    let text = format!(
        "{ACCOUNTS}SET client_encoding = 'UTF8';\nCREATE FUNCTION f() AS $_$\n{fake}$_$;\nCOPY public.t (x) FROM stdin;\n{HEAD}{a}\\.\n\
         COMMENT ON TABLE t IS 'it''s\n{fake}';\n\n{HEAD}{a}{b}\\.\n\nCOPY public.u (x) FROM stdin;\n{HEAD}{a}\\.\n"
    );
    assert_eq!(read(&text), (vec![(20, "a".into()), (21, "b\\".into())], None));
    assert_eq!(read(&text.replace('\n', "\r\n")), read(&text));
    assert_eq!(read(&format!("{ACCOUNTS}{HEAD}\\.\n")), (vec![], None));
    assert!(failure(&format!("{HEAD}\\.\n")).contains("no section COPY password_verify.account"));
}

#[test]
fn what_is_no_row_is_told() {
    let long = "x".repeat(200_000);
    let text = format!("{ACCOUNTS}{HEAD}{}\n\n{long}\n{}\\.\n", row("a").trim_end(), row("b"));
    let told: Vec<_> = [(4, "a"), (5, "-"), (6, "-"), (7, "b")].map(|(n, s)| (n, s.into())).into();
    assert_eq!(read(&text), (told, None));
}

#[test]
fn a_dump_that_is_cut_off() {
    let text = format!(
        "SET x = 1;\nCOPY a.b (c) FROM stdin;\n1\n2\n\\.\n{ACCOUNTS}{HEAD}{}{}\\.\n",
        row("a"),
        row("b")
    );
    let whole = read(&text);
    for end in 0..text.len() {
        let (rows, ended) = read(&text[..end]);
        assert!(ended.is_some(), "{end}");
        let complete = rows.iter().filter(|(_, user)| user != "-");
        assert!(complete.zip(&whole.0).all(|(cut, whole)| cut == whole), "{end}");
    }
}

#[test]
fn other_dumps_are_refused() {
    for (text, said) in [
        ("", "no section"),
        ("SELECT 1;\n", "no section"),
        ("COPY a.b (c) FROM stdin;\n1\n", "cut off, before"),
        ("PGDMP\u{1}", "pg_restore -f - FILE | password_verify_export"),
        ("INSERT INTO password_verify.credential VALUES ('a');\n", "without them"),
        ("INSERT INTO \"password_verify\".\"credential\" (a) VALUES\n\t('a');\n", "--inserts"),
        ("SET client_encoding = 'LATIN1';\n", "encoding LATIN1: make it with pg_dump --enc"),
        ("COPY password_verify.credential (user_id) FROM stdin;\n", "no column blind_index"),
    ] {
        assert!(failure(text).contains(said), "{text}: {}", failure(text));
    }
    let two = format!("{ACCOUNTS}{HEAD}{}\\.\n", row("a")).repeat(2);
    let (rows, ended) = read(&two);
    assert_eq!(rows.len(), 1);
    assert!(ended.unwrap().starts_with("line 8: the dump has the passwords of another database"));
}

const KEY: &str = "COPY password_verify.blind_index_key (key, in_use, id, mac) FROM stdin;\n\\\\x0101010101010101010101010101010101010101010101010101010101010101\tt\t0\t\n\\.\n";
const SECRETS: &str = "COPY password_verify.secret (key, id, user_id, name, destination, data_key, in_vault, sealed, state, why, stored_at, opened_at, mac) FROM stdin;\n";
const VAULTS: &str = "COPY password_verify.vault (key, id, user_id, sealed, created_at, changed_at, mac) FROM stdin;\n";

fn secret(name: &str) -> String {
    let (uuid, now) = ("0123abcd-0000-0000-0000-000000000000", "2026-01-02 03:04:05+00");
    format!("{uuid}\t{uuid}\tu\t{name}\t{{}}\tx\tf\tx\tnew\t\\N\t{now}\t\\N\t\\\\x\n")
}

fn secrets(text: &str, vaults: bool) -> (Vec<(u64, String)>, Option<String>) {
    read_of(text, Wanted { hashes: false, secrets: true, vaults })
}

#[test]
fn secrets_and_vaults() {
    let uuid = "0123abcd-0000-0000-0000-000000000000";
    let text = format!(
        "{KEY}{HEAD}{}\\.\n{SECRETS}{}x\n{}\\.\n{VAULTS}{uuid}\t{uuid}\tv\tx\t0\t0\t\n\\.\n",
        row("a"),
        secret("one"),
        secret("two")
    );
    let mut told = vec![(8, "one".into()), (9, "-".into()), (10, "two".into())];
    assert_eq!(secrets(&text, false), (told.clone(), None));
    told.push((0, "v".into()));
    assert_eq!(secrets(&text, true), (told, None));
    // Nobody asked for secrets.
    let text = format!("{ACCOUNTS}{text}");
    assert_eq!(read(&text), (vec![(7, "a".into())], None));
}

#[test]
fn a_dump_of_secrets_that_is_not_whole() {
    let text = format!("{KEY}{SECRETS}{}{}\\.\n{VAULTS}\\.\n", secret("a"), secret("b"));
    let end = text.find(VAULTS).unwrap();
    for cut in 0..end {
        assert!(secrets(&text[..cut], true).1.is_some(), "{cut}");
    }
    assert_eq!(secrets(&text[..end], true).1, None);
    let failure = |text: &str| secrets(text, true).1.unwrap();
    assert!(failure(&text[..end + VAULTS.len()]).contains("cut off: it had more rows"));
    assert!(failure(&text[..KEY.len() - 3]).contains("cut off, before the secrets"));
    assert!(failure(KEY).contains("no section COPY password_verify.secret"));
    assert!(failure(SECRETS).contains("no section COPY password_verify.blind_index_key before"));
    assert!(
        failure(&text.replace(", why", "")).contains("password_verify.secret has no column why")
    );
    assert!(
        failure(&text.replace(", mac) FROM stdin;\n0", ", mac, x) FROM stdin;\n0"))
            .contains("later")
    );
    assert!(failure("INSERT INTO password_verify.secret VALUES (1);\n").contains("without them"));
    let (rows, ended) = secrets(&text.repeat(2), true);
    assert_eq!(rows.len(), 2);
    assert!(ended.unwrap().starts_with("line 13: the dump has the secrets of another database"));
}

#[test]
fn rows_are_bound_to_one_key() {
    let installations = |text: &str| {
        let wanted = Wanted { hashes: false, secrets: true, vaults: false };
        let input = Input::of(Cursor::new(format!("{text}{SECRETS}\\.\n").into_bytes()));
        let mut dump = Dump::of(input, wanted);
        assert!(dump.next(&Progress::none(), None).ok().unwrap().is_none());
        dump.installations().len()
    };
    let line = KEY.lines().nth(1).unwrap();
    let twice = KEY.replace(line, &format!("{line}\n{line}"));
    let two = KEY.replace(line, &format!("{line}\n{}", line.replace("01", "02")));
    assert_eq!([KEY, &twice, &two, &KEY.replace(line, "x")].map(installations), [1, 1, 2, 0]);
    // Those of the database before are not.
    assert_eq!(installations(&format!("{KEY}{}", KEY.replace("01", "02"))), 1);
}
