//! A reader of `pv_events_after`, as docs/siem.md tells one to read.

use postgres::{Client, Error};
use serde_json::Value;

/// What was read, in order.
#[derive(Default)]
pub struct Reader {
    pub events: Vec<Value>,
}

impl Reader {
    /// Reads one page; how many rows were new. The last row is read again, because it shows whether the trail is still the
    /// one that was read.
    pub fn page(&mut self, client: &mut Client, max_rows: i32) -> Result<usize, Problem> {
        let (epoch, seq) = self.events.last().map(place).unzip();
        let sql = "SELECT event::text FROM auth.pv_events_after($1, $2, $3)";
        let before = seq.map(|seq: i64| seq - 1);
        let rows = client.query(sql, &[&epoch, &before, &max_rows]).map_err(Problem::Database)?;
        let mut rows = rows.iter().map(|row| serde_json::from_str(row.get(0)).unwrap());
        if let Some(last) = self.events.last()
            && rows.next().as_ref() != Some(last)
        {
            return Err(Problem::AnotherTrail);
        }
        let before = self.events.len();
        for next in rows {
            if self.events.last().is_some_and(|last| !follows(last, &next)) {
                return Err(Problem::Gap);
            }
            self.events.push(next);
        }
        Ok(self.events.len() - before)
    }

    /// Reads until there is nothing more.
    pub fn rest(&mut self, client: &mut Client, max_rows: i32) -> Result<(), Problem> {
        while self.page(client, max_rows)? > 0 {}
        Ok(())
    }

    /// The places of what was read.
    pub fn places(&self) -> Vec<(i64, i64)> {
        self.events.iter().map(place).collect()
    }
}

/// Why a reader does not go on.
#[derive(Debug)]
pub enum Problem {
    Database(Error),
    /// The last row that was read is not there, or is another one.
    AnotherTrail,
    /// Rows are missing before the next one.
    Gap,
}

/// Epoch and sequence number of an event.
pub fn place(event: &Value) -> (i64, i64) {
    let number = |value: &Value| value.as_i64().unwrap();
    (number(&event["password_verify"]["epoch"]), number(&event["event"]["sequence"]))
}

/// Does nothing come between the two? Within an epoch they are numbered; the first row of an epoch names the one before.
fn follows(last: &Value, next: &Value) -> bool {
    let ((epoch, seq), (next_epoch, next_seq)) = (place(last), place(next));
    if epoch == next_epoch {
        return next_seq == seq + 1;
    }
    let detail = next["password_verify"]["detail"].as_str().unwrap_or_default();
    let detail: Value = serde_json::from_str(detail).unwrap_or_default();
    let expected = serde_json::json!({ "epoch": epoch, "seq": seq, "mac": last["event"]["hash"] });
    next_seq == 0 && detail["previous"] == expected
}
