//! What an event says of the ids that were erased with it: in how many rows of each epoch, and in which.
//!
//! Whoever writes the table without the key could erase the id of any row, since commitment and nonce lie beside it. So
//! what is erased has to add up to what the events say that erased it: of each epoch the number of rows, and a sum of
//! their MACs, which are keyed, so that nobody finds other rows with the same sum.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::chain::{MAC_BYTES, hex, unhex};

/// Epochs that one event counts at most: its row stays far below a page.
pub const MAX_EPOCHS: usize = 16;

/// Rows of one epoch whose ids were erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Erased {
    pub rows: i64,
    /// Both halves of their MACs, added up.
    sum: [u128; 2],
}

impl Erased {
    /// One more row, with this MAC.
    pub fn add(&mut self, mac: &[u8; MAC_BYTES]) {
        let (halves, _) = mac.as_chunks::<16>();
        let sum = [halves[0], halves[1]].map(u128::from_be_bytes);
        self.plus(&Self { rows: 1, sum });
    }

    /// Both together.
    pub fn plus(&mut self, other: &Self) {
        self.rows = self.rows.wrapping_add(other.rows);
        self.sum = [0, 1].map(|half: usize| self.sum[half].wrapping_add(other.sum[half]));
    }

    fn mac(&self) -> [u8; MAC_BYTES] {
        let mut bytes = [0; MAC_BYTES];
        bytes[..16].copy_from_slice(&self.sum[0].to_be_bytes());
        bytes[16..].copy_from_slice(&self.sum[1].to_be_bytes());
        bytes
    }
}

/// The detail of such an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// The transaction that asked for it.
    pub xid: u64,
    /// By epoch.
    pub erased: BTreeMap<i64, Erased>,
    /// Is nothing left to erase?
    pub done: bool,
}

impl Forgotten {
    /// Writes a JSON object in one fixed form without spaces.
    pub fn to_detail(&self) -> String {
        let erased = self.erased.iter().map(|(epoch, erased)| {
            format!(r#"{{"epoch":{epoch},"rows":{},"sum":"{}"}}"#, erased.rows, hex(&erased.mac()))
        });
        let erased = erased.collect::<Vec<_>>().join(",");
        format!(r#"{{"xid":{},"erased":[{erased}],"done":{}}}"#, self.xid, self.done)
    }

    /// The exact inverse of [`Forgotten::to_detail`]. Any other spelling is refused.
    pub fn parse(text: &str) -> Option<Self> {
        let detail: Value = serde_json::from_str(text).ok()?;
        let mut erased = BTreeMap::new();
        for epoch in detail.get("erased")?.as_array()? {
            let sum = unhex(epoch.get("sum")?.as_str()?)?;
            let mut of_epoch = Erased::default();
            of_epoch.add(&sum);
            of_epoch.rows = epoch.get("rows")?.as_i64()?;
            erased.insert(epoch.get("epoch")?.as_i64()?, of_epoch);
        }
        let (xid, done) = (detail.get("xid")?.as_u64()?, detail.get("done")? == &json!(true));
        let forgotten = Self { xid, erased, done };
        (forgotten.to_detail() == text).then_some(forgotten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forgotten() -> Forgotten {
        let (mut one, mut two) = (Erased::default(), Erased::default());
        one.add(&[0xff; MAC_BYTES]);
        one.add(&[2; MAC_BYTES]);
        two.add(&[1; MAC_BYTES]);
        Forgotten { xid: u64::MAX, erased: BTreeMap::from([(3, one), (-7, two)]), done: true }
    }

    #[test]
    fn what_is_written_is_read() {
        for it in [forgotten(), Forgotten::default()] {
            assert_eq!(Forgotten::parse(&it.to_detail()), Some(it));
        }
        assert_eq!(Forgotten::default().to_detail(), r#"{"xid":0,"erased":[],"done":false}"#);
    }

    #[test]
    fn no_other_spelling_is_read() {
        let text = forgotten().to_detail();
        for other in [
            String::new(),
            text.replace(',', ", "),
            text.replace("\"sum\":\"0", "\"sum\":\" "),
            text.replace("\"rows\":2", "\"rows\":02"),
            text.replace("true", "1"),
            text.replace("\"epoch\":3", "\"epoch\":-7"),
            format!("{text} "),
        ] {
            assert_ne!(other, text);
            assert_eq!(Forgotten::parse(&other), None, "{other}");
        }
    }

    #[test]
    fn sums_tell_rows_apart_and_do_not_depend_on_their_order() {
        let of = |macs: &[u8]| {
            let mut erased = Erased::default();
            macs.iter().for_each(|byte| erased.add(&[*byte; MAC_BYTES]));
            erased
        };
        assert_eq!(of(&[1, 200, 255]), of(&[255, 1, 200]));
        assert_ne!(of(&[1, 200]), of(&[1, 201]));
        assert_ne!(of(&[1, 2]), of(&[3]));
        let (mut together, other) = (of(&[1]), of(&[200, 255]));
        together.plus(&other);
        assert_eq!(together, of(&[1, 200, 255]));
    }

    /// A row never comes near 8 kB.
    #[test]
    fn the_longest_detail_is_short() {
        let mut longest = Forgotten { xid: u64::MAX, ..Forgotten::default() };
        for epoch in 0..MAX_EPOCHS as i64 {
            let erased = Erased { rows: i64::MIN, sum: [u128::MAX; 2] };
            longest.erased.insert(i64::MIN + epoch, erased);
        }
        assert!(longest.to_detail().len() < 3000, "{}", longest.to_detail().len());
    }
}
