//! The statements of docs/keeper.md work as they are written there, one after the other in one psql.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;

use password_verify_tests::Site;
use password_verify_tests::cluster::run;
use password_verify_tests::keyring::{fresh_key, line, sealed_server};

#[test]
fn the_statements_about_the_keeper() {
    // Roles are the whole server's, and these have the names that the page gives them.
    let site = Site::bare(sealed_server(&line("a", &fresh_key())), "");
    let page = include_str!("../../docs/keeper.md");
    let mut script = String::new();
    let mut blocks = 0;
    for rest in page.split("```sql").skip(1) {
        let (who, rest) = rest.split_once('\n').unwrap();
        let who = if who.trim().is_empty() { "postgres" } else { who.trim() };
        writeln!(script, "\\c - {who}\n{}", rest.split_once("```").unwrap().0).unwrap();
        blocks += 1;
    }
    assert_eq!(blocks, 8);
    let file = site.cluster.folder().join("page.sql");
    fs::write(&file, script).unwrap();
    let mut psql = site.cluster.command("psql");
    psql.args(["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", &site.database, "-f"]).arg(file);
    let said = String::from_utf8(run(&mut psql).stdout).unwrap();
    let lines: Vec<&str> = said.lines().filter(|line| !line.is_empty() && *line != "|").collect();
    // Stored; opened; delivered; read; acknowledged.
    assert_eq!(
        lines[..5],
        ["t|", "the password of the mailbox|", "1", "1|{\"subject\": \"hello\"}", "t"]
    );
    // Registered, with a request to try it. Nobody has yet.
    let request = lines[5].strip_prefix("t||").unwrap();
    assert!(request.parse::<i64>().unwrap() > 0, "{lines:?}");
    assert_eq!(lines[6..9], ["new|", "f", "f"]);
    // Into a vault, requested, and locked.
    assert_eq!(lines[9..11], ["t|", "t|"]);
    assert!(lines[11].parse::<i64>().unwrap() > 0, "{lines:?}");
    assert_eq!(lines[12..], ["t"]);
}
