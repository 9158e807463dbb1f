//! Are the tables as they were written? And somebody who writes them without a key.

use postgres::GenericClient;

use crate::Site;
use crate::trail::{verify, wait_until};

/// What `pv_verify_credentials` finds wrong: of which table, and what.
pub fn problem(client: &mut impl GenericClient) -> Option<(String, String)> {
    let sql = "SELECT intact, table_name, problem FROM auth.pv_verify_credentials()";
    let row = client.query_one(sql, &[]).unwrap();
    let found: Option<String> = row.get(1);
    assert_eq!(row.get::<_, bool>(0), found.is_none());
    found.map(|table| (table, row.get(2)))
}

/// Every row is as it was written, and none is missing; how many there are.
pub fn assert_whole(client: &mut impl GenericClient) -> i64 {
    assert_eq!(problem(client), None);
    let sql = "SELECT rows FROM auth.pv_verify_credentials()";
    client.query_one(sql, &[]).unwrap().get(0)
}

/// The verification says of the index of that table that it does not lead to its rows; of the trail, that it is not
/// intact.
pub fn assert_index_is_named(site: &Site, table: &str) {
    if table == "event" {
        let verdict = verify(&mut site.admin());
        assert!(!verdict.intact, "{verdict:?}");
    } else {
        let (found, what) = problem(&mut site.admin()).unwrap();
        assert_eq!((found.as_str(), what.contains("index")), (table, true), "{what}");
    }
}

/// Waits for the event that says of a table that it is not as it was written, with its alert.
pub fn await_tampered(site: &Site, table: &str) {
    let sql = "SELECT count(*) FROM auth.pv_events
                WHERE action = 'tampered' AND detail = $1 AND alert = 32";
    let (mut admin, detail) = (site.admin(), format!("{{\"table\":\"{table}\"}}"));
    wait_until("it is on record", || {
        admin.query_one(sql, &[&detail]).unwrap().get::<_, i64>(0) > 0
    });
    // As JSON in JSON, of which the log has nothing but letters as they are.
    let detail = detail.replace('{', "\\u007b").replace('}', "\\u007d").replace('"', "\\u0022");
    let (name, detail) =
        (format!(r#""database":"{}""#, site.database), format!(r#""detail":"{detail}""#));
    wait_until("it is in the log", || {
        let log = site.cluster.log();
        log.lines().any(|line| {
            line.contains(r#""alert":["tampered"]"#)
                && line.contains(&name)
                && line.contains(&detail)
        })
    });
}

/// Keeps the rows of a table as they are now, to be put back by [`put_back`].
pub fn keep(admin: &mut impl GenericClient, table: &str) {
    let sql = format!(
        "DROP TABLE IF EXISTS kept_{table};
         CREATE TABLE kept_{table} AS TABLE password_verify.{table}"
    );
    admin.batch_execute(&sql).unwrap();
}

/// Puts all of them back, or those for which something holds.
pub fn put_back(admin: &mut impl GenericClient, table: &str, which: &str) {
    let sql = format!(
        "DELETE FROM password_verify.{table} WHERE {which};
         INSERT INTO password_verify.{table} SELECT * FROM kept_{table} WHERE {which}"
    );
    admin.batch_execute(&sql).unwrap();
}
