//! The one value of a query.

use postgres::GenericClient;

pub fn number(client: &mut impl GenericClient, sql: &str) -> i64 {
    client.query_one(sql, &[]).unwrap().get(0)
}

pub fn text(client: &mut impl GenericClient, sql: &str) -> String {
    client.query_one(sql, &[]).unwrap().get(0)
}
