//! What `contrib/monitoring` asks is answered, and what its dashboard shows is there. And docs/doctor.md has every rule.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use password_verify_tests::calls::{VALIDATE_FROM, validate};
use password_verify_tests::trail::settle;
use password_verify_tests::{GOOD, Site, WRONG};
use postgres::Client;
use serde_json::Value;

const QUERIES: &str = include_str!("../../contrib/monitoring/postgres_exporter.yaml");
const ALERTS: &str = include_str!("../../contrib/monitoring/alerts.yaml");
const DASHBOARD: &str = include_str!("../../contrib/monitoring/dashboard.json");

/// A query of the file: what it is called, its text, and each column with its usage.
struct Query {
    name: String,
    sql: String,
    columns: Vec<(String, String)>,
}

/// The file as far as its few forms of lines go.
fn queries() -> Vec<Query> {
    let mut all: Vec<Query> = Vec::new();
    for line in QUERIES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (key, value) = line.split_once(':').unwrap();
        let value = value.trim().trim_matches('"').to_owned();
        match (key.trim(), key.len() - key.trim_start().len()) {
            (name, 0) => {
                all.push(Query { name: name.into(), sql: String::new(), columns: Vec::new() })
            }
            ("query", 2) => all.last_mut().unwrap().sql = value,
            ("metrics", 2) => assert_eq!(value, ""),
            ("cache_seconds", 2) => assert!(value.parse::<u32>().is_ok()),
            (column, 4) => {
                let name = column.strip_prefix("- ").unwrap().to_owned();
                all.last_mut().unwrap().columns.push((name, String::new()));
            }
            ("usage", 8) => all.last_mut().unwrap().columns.last_mut().unwrap().1 = value,
            ("description", 8) => assert!(!value.is_empty()),
            other => panic!("{other:?}"),
        }
    }
    all
}

/// A site where something has happened, and its auditor.
fn busy_site() -> (Site, Client) {
    let site = Site::new();
    site.enroll("1", GOOD);
    let mut app = site.login();
    validate(&mut app, "1", GOOD);
    for _ in 0..6 {
        validate(&mut app, "1", WRONG);
    }
    app.query(VALIDATE_FROM, &[&"1", &WRONG, &"192.0.2.1"]).unwrap();
    settle(&mut site.admin());
    let auditor = site.login_with(&["auditor"]);
    (site, auditor)
}

/// The metrics that the exporter makes of the answers, and the values of each label.
fn metrics(auditor: &mut Client) -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let mut made = BTreeMap::new();
    for query in queries() {
        let prepared = auditor.prepare(&query.sql).unwrap();
        let columns: Vec<&str> = prepared.columns().iter().map(|column| column.name()).collect();
        let declared: Vec<&str> = query.columns.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(columns, declared, "{}", query.name);
        let rows = auditor.query(&prepared, &[]).unwrap();
        assert!(!rows.is_empty(), "{}", query.name);
        for (at, (column, usage)) in query.columns.iter().enumerate() {
            match usage.as_str() {
                "LABEL" => {}
                "GAUGE" => {
                    assert!(rows.iter().all(|row| row.get::<_, i64>(at) >= 0));
                    let labels =
                        query.columns.iter().enumerate().filter(|(_, (_, usage))| usage == "LABEL");
                    let values = |at: usize| rows.iter().map(|row| row.get(at)).collect();
                    let labels = labels.map(|(at, (name, _))| (name.clone(), values(at))).collect();
                    made.insert(format!("{}_{column}", query.name), labels);
                }
                other => panic!("{other}"),
            }
        }
    }
    made
}

/// Each metric in an expression exists, with each value of a label that is compared.
fn assert_there(expr: &str, made: &BTreeMap<String, BTreeMap<String, BTreeSet<String>>>) {
    let mut found = 0;
    for piece in expr.split(|c: char| c.is_whitespace() || c == '(' || c == ')') {
        let (name, rest) = piece.split_once('{').unwrap_or((piece, ""));
        if !name.starts_with("pv_") {
            continue;
        }
        let labels = made.get(name).unwrap_or_else(|| panic!("{expr}: no {name}"));
        found += 1;
        let Some((label, value)) = rest.split_once('=') else { continue };
        let values = labels.get(label).unwrap_or_else(|| panic!("{expr}: no {label}"));
        let value =
            value.trim_start_matches('~').trim_start_matches('"').split('"').next().unwrap();
        let is = |known: &String| match value.strip_suffix(".*") {
            Some(prefix) => known.starts_with(prefix),
            None => known == value,
        };
        // A pattern with alternatives in parentheses was cut at the first of them: its parts follow.
        assert!(value.ends_with('_') || values.iter().any(is), "{expr}: no {value} in {values:?}");
    }
    assert!(found > 0, "{expr}");
}

#[test]
fn what_the_exporter_asks_and_the_dashboard_shows_is_there() {
    let (_site, mut auditor) = busy_site();
    let made = metrics(&mut auditor);
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let (mut metrics, mut questions) = (0, 0);
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            if let Some(expr) = target["expr"].as_str() {
                assert_there(expr, &made);
                metrics += 1;
            }
            if let Some(sql) = target["rawSql"].as_str() {
                // Grafana's own way to make a literal of what somebody types.
                let sql = sql.replace("${user:sqlstring}", "'1'");
                assert!(!sql.contains('$'), "{sql}");
                assert!(!auditor.query(&sql, &[]).unwrap().is_empty(), "{sql}");
                questions += 1;
            }
        }
    }
    assert_eq!((metrics, questions), (13, 2));
    for name in ["validate_valid", "validate_invalid_credentials"] {
        assert!(made["pv_stats_value"]["statistic"].contains(name), "{name}");
    }
    let alerts: Vec<&str> =
        ALERTS.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert_eq!(alerts.len(), 4);
    for expr in alerts {
        assert_there(expr, &made);
    }
}

#[test]
fn every_rule_is_in_the_documentation() {
    let site = Site::new();
    let documented = include_str!("../../docs/doctor.md");
    for row in
        site.admin().query("SELECT rule, severity, why FROM password_verify.rule", &[]).unwrap()
    {
        let (rule, severity, why): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
        assert!(documented.contains(&format!("| {rule} | {severity} | {why} |")), "{rule}");
        // Somebody has broken it, and seen it.
        assert!(documented.contains(&format!("| {rule} | {severity} | ")), "{rule}");
        let broken = documented.lines().skip_while(|line| *line != "## What was broken");
        assert!(broken.into_iter().any(|line| line.starts_with(&format!("| {rule} |"))), "{rule}");
    }
}
