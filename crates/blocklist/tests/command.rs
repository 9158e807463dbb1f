//! Tests the command with real files.
#![cfg(feature = "command")]
// The helpers of these tests may panic as tests do.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use password_verify_blocklist::Filter;
use tempfile::TempDir;

const SHA1_PASSWORD: &str = "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8";
const SHA1_QWERTY: &str = "b1b3773a05c0ed0176787a4f1574ff0075f7521e";

/// Runs the command in the folder with this standard input.
fn run(folder: &TempDir, line: &str, input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_password_verify_blocklist"))
        .args(line.split_whitespace())
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // The command may end without reading its input, which is not a failure.
    let _ = child.stdin.take().expect("piped").write_all(input);
    child.wait_with_output().expect("it ends")
}

/// The standard output of the command, which must succeed.
fn told(folder: &TempDir, line: &str, input: &[u8]) -> String {
    let output = run(folder, line, input);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The exit code and the last line on standard error.
fn refused(folder: &TempDir, line: &str, input: &[u8]) -> (Option<i32>, String) {
    let output = run(folder, line, input);
    let said = String::from_utf8(output.stderr).expect("text");
    (output.status.code(), said.lines().last().unwrap_or_default().to_owned())
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

/// The names of the files in the folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Whether the filter `out` lists each of these passwords.
fn listed<const N: usize>(folder: &TempDir, passwords: [&str; N]) -> [bool; N] {
    let bytes = fs::read(folder.path().join("out")).expect("a filter");
    let filter = Filter::open(&bytes).expect("a whole filter");
    passwords.map(|password| filter.contains(password))
}

#[test]
fn a_filter_of_all_kinds_of_lists() {
    let sha1 = format!("{SHA1_PASSWORD}:9\r\n{SHA1_QWERTY}:2\r\n");
    let folder = folder(&[
        ("sha1", sha1.as_bytes()),
        ("words", "Ame\u{301}lie\npassword\r\n\nlatin \u{fc}\n".as_bytes()),
        ("latin1", b"stra\xdfe\nstrasse\n"),
    ]);
    let line =
        "build --output out --sha1 sha1 --words words --words latin1 --words - --min-count 3";
    let told = told(&folder, line, b"from standard input");
    let all = ["password", "Amélie", "latin ü", "strasse", "from standard input"];
    assert_eq!(listed(&folder, all), [true; 5]);
    assert_eq!(listed(&folder, ["qwerty", "Amelie", "Ame\u{301}lie", ""]), [false; 4]);
    for line in [
        "lines                9",
        "left out             1 duplicates, 1 rare, 1 not utf-8 or too long, 0 malformed",
        "entries              5",
        "false-positive rate  0.0000153, 1 in 65536; measured ",
    ] {
        assert!(told.contains(line), "{told}");
    }
    assert_eq!(names(folder.path()), ["latin1", "out", "sha1", "words"]);
    let mode = fs::metadata(folder.path().join("out")).unwrap().permissions().mode();
    assert_eq!(mode & 0o600, 0o600);
}

#[test]
fn progress_is_told_in_plain_lines_where_there_is_no_terminal() {
    let folder = folder(&[("words", b"a\nb\n")]);
    let output = run(&folder, "build --output out --words words", b"");
    let expected = "reading\nreading 100 %\nbuilding\nbuilding 100 %\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
}

#[test]
fn order_and_case_make_no_difference() {
    let folder = folder(&[]);
    let (password, qwerty) = (SHA1_PASSWORD.to_lowercase(), SHA1_QWERTY.to_uppercase());
    told(&folder, "build --output one --sha1 -", format!("{password}\n{qwerty}\n").as_bytes());
    told(&folder, "build --output two --words -", b"qwerty\npassword\nqwerty\n");
    let read = |name| fs::read(folder.path().join(name)).unwrap();
    assert!(read("one") == read("two"));
}

#[test]
fn malformed_lines_are_counted_and_nothing_is_written() {
    let sha1 = format!("{SHA1_PASSWORD}:1\n\nsecret\n{SHA1_QWERTY}:\n{SHA1_QWERTY}\n");
    let folder = folder(&[("sha1", sha1.as_bytes()), ("out", b"as before")]);
    let (code, said) = refused(&folder, "build --output out --sha1 sha1", b"");
    let expected = "password_verify_blocklist: malformed lines: 2, the first is sha1:3; a line of \
        --sha1 is 40 hexadecimal digits, or these and :COUNT; nothing was written; --lenient skips \
        such lines";
    assert_eq!((code, said.as_str()), (Some(3), expected));
    assert_eq!(fs::read(folder.path().join("out")).unwrap(), b"as before");
    assert_eq!(names(folder.path()), ["out", "sha1"]);

    let told = told(&folder, "build --output out --sha1 sha1 --lenient", b"");
    assert!(told.contains("2 malformed"), "{told}");
    assert_eq!(listed(&folder, ["password", "qwerty", "secret"]), [true, true, false]);
}

#[test]
fn what_cannot_be_read_or_written_is_named() {
    let folder = folder(&[("empty", b"\n\n"), ("words", b"a\n")]);
    for (line, expected) in [
        ("--output out --words none", "cannot read none: No such file or directory (os error 2)"),
        ("--output no/out --words words", "cannot write no/out: No such file or directory"),
        ("--output . --words words", "cannot write .: "),
        ("--output out --words empty", "the lists hold no password"),
    ] {
        let (code, said) = refused(&folder, &format!("build {line}"), b"");
        assert_eq!(code, Some(1), "{line}");
        assert!(said.starts_with(&format!("password_verify_blocklist: {expected}")), "{said}");
    }
    assert_eq!(names(folder.path()), ["empty", "words"]);
}

#[test]
fn a_check_tells_what_is_in_the_file() {
    let folder = folder(&[]);
    told(&folder, "build --output out --words -", "password\nÅngström\n".as_bytes());
    let summary = told(&folder, "check out", b"");
    assert!(summary.starts_with("entries              2\nfile size            "), "{summary}");

    let long = "x".repeat(5000);
    let asked = format!("password\nA\u{30a}ngstro\u{308}m\r\nother\n\n{long}\n");
    let mut asked = asked.into_bytes();
    asked.extend_from_slice(b"\xff");
    let told = told(&folder, "check out --stdin", &asked);
    let answers = told.strip_prefix(&summary).expect("the summary first");
    let expected = "listed\nlisted\nnot listed\nnot listed\ntoo long for a password\nnot utf-8\n";
    assert_eq!(answers, expected);
}

#[test]
fn a_check_refuses_what_is_no_filter() {
    let folder = folder(&[("words", b"password\n")]);
    told(&folder, "build --output out --words words", b"");
    let mut bytes = fs::read(folder.path().join("out")).unwrap();
    bytes[30] ^= 1;
    fs::write(folder.path().join("flipped"), &bytes).unwrap();
    for (file, code, why) in [
        ("words", 4, "words: not a file of password_verify_blocklist"),
        ("flipped", 4, "flipped: damaged: its checksum is wrong"),
        ("none", 1, "cannot read none: No such file or directory (os error 2)"),
    ] {
        let expected = (Some(code), format!("password_verify_blocklist: {why}"));
        assert_eq!(refused(&folder, &format!("check {file}"), b""), expected);
    }
}

#[test]
fn arguments_are_explained() {
    let folder = folder(&[]);
    assert!(told(&folder, "--help", b"").contains("build --output FILE"));
    assert!(told(&folder, "--version", b"").starts_with("password_verify_blocklist 0."));
    let (code, said) = refused(&folder, "build --output out", b"");
    let expected = "password_verify_blocklist: a list is missing: --sha1 or --words; --help shows how \
        it is used";
    assert_eq!((code, said.as_str()), (Some(2), expected));
}
