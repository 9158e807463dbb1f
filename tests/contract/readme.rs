//! The statements of the README work as they are written there.
#![allow(clippy::unwrap_used)]

use password_verify_tests::keyring::{fresh_key, line, sealed_server};
use password_verify_tests::{Site, sqlstate};
use postgres::{Client, SimpleQueryMessage};

/// Runs statements one by one and gives the rows of each.
fn run(client: &mut Client, sql: &str) -> Vec<Vec<String>> {
    sql.split_inclusive(";\n")
        .map(|statement| {
            let messages = client.simple_query(statement).unwrap();
            messages
                .iter()
                .filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => {
                        let columns = (0..row.len()).map(|i| row.get(i).unwrap_or_default());
                        Some(columns.collect::<Vec<_>>().join("|"))
                    }
                    _ => None,
                })
                .collect()
        })
        .collect()
}

#[test]
fn the_statements_of_the_readme() {
    // What is kept needs a keyring.
    let site = Site::bare(sealed_server(&line("a", &fresh_key())), "");
    let readme = include_str!("../../README.md").replace("app'", &format!("{}'", site.app));
    let readme = readme.replace("TO app;", &format!("TO {};", site.app));
    let readme = readme.replace("ROLE app ", &format!("ROLE {} ", site.app));
    let blocks: Vec<(&str, &str)> = readme
        .split("```sql")
        .skip(1)
        .map(|rest| rest.split_once('\n').unwrap())
        .map(|(who, rest)| (who.trim(), rest.split_once("```").unwrap().0))
        .collect();
    assert_eq!(blocks.len(), 9);
    let mut answers = Vec::new();
    for (who, sql) in blocks {
        let mut client = if who == "app" { site.login() } else { site.admin() };
        answers.push(run(&mut client, sql));
    }
    assert_eq!(answers[2], [["t|"], ["t|"], ["t|"]]);
    let grants = [format!("{}|enroller|t", site.app), format!("{}|verifier|t", site.app)];
    assert_eq!(answers[3][0], grants);
    // What the application has done with the account so far.
    assert!(answers[4][0].len() >= 3, "{:?}", answers[4]);
    assert!(answers[4][0].iter().all(|row| row.ends_with(&format!("|{}", site.app))));
    assert_eq!(answers[6][0], ["t|"]);
    assert!(answers[6][1][0].parse::<i64>().is_ok_and(|request| request > 0));
    assert_eq!(answers[6][2], ["inbox|new"]);
    // The doctor finds nothing in what the README says.
    assert_eq!(answers[8].concat(), Vec::<String>::new());
    // Over a socket there is no certificate.
    let call = "SELECT auth.pv_validate_password(42::bigint, 'x')";
    assert_eq!(sqlstate(site.login().query(call, &[])), "28000");
}
