//! The hashes on their way out.

use password_verify_core::kept::keyring::Keyring;
use password_verify_core::rules::secret::Secret;
use serde_json::Value;

use crate::args::Format;
use crate::copy_text::encode;
use crate::failure::Failure;
use crate::field::Time;
use crate::not_exported::NotExported;
use crate::output::Output;
use crate::row::Row;
use crate::timestamp::rfc3339;

/// The beginning of the hashes that this extension makes. All others were imported.
const OURS: &str = "$argon2id$";

pub struct Hashes {
    output: Output,
    format: Format,
    /// Hashes that are another system's.
    imported: u64,
}

impl Hashes {
    pub fn new(output: Output, format: Format) -> Self {
        Self { output, format, imported: 0 }
    }

    /// Writes the hash of a row, or says why it cannot be written.
    ///
    /// # Errors
    /// [`Failure::Failed`] if writing fails.
    pub fn write(
        &mut self,
        row: &Row,
        ring: Option<&Keyring>,
    ) -> Result<Option<NotExported>, Failure> {
        if row.is_placeholder() {
            return Ok(None);
        }
        let hash = match row.open(ring) {
            Ok(hash) => hash,
            Err(why) => return Ok(Some(why)),
        };
        self.output.write(&Secret::new(match self.format {
            Format::Tsv => format!("{}\t{}\n", encode(&row.user_id), encode(hash.expose())),
            Format::JsonLines => json(row, &hash),
        }))?;
        self.imported += u64::from(!hash.expose().starts_with(OURS));
        Ok(None)
    }

    /// Ends the output. `whole`: the dump was read to its end.
    ///
    /// # Errors
    /// [`Failure::Failed`] if writing fails.
    pub fn end(mut self, whole: bool) -> Result<(), Failure> {
        let finished = self.output.finish();
        let (written, name) = (self.output.written, self.output.name());
        if written == 0 {
            if !whole || finished.is_err() {
                self.output.discard();
            }
            return finished;
        }
        crate::say(&format!("{written} rows were written to {name}"));
        if self.imported > 0 {
            crate::say(&format!(
                "{} records are in formats of this extension's importer",
                self.imported
            ));
        }
        crate::say(&format!(
            "warning: {name} holds password hashes, which whoever has them can attack; delete it after use"
        ));
        finished
    }
}

/// One JSON object on one line.
fn json(row: &Row, hash: &Secret) -> String {
    let time = |time: &Time| Value::from(rfc3339(time.at).unwrap_or_else(|| time.text.clone()));
    let optional = |some: &Option<Time>| some.as_ref().map_or(Value::Null, time);
    object([
        ("user_id", row.user_id.as_str().into()),
        ("hash", hash.expose().into()),
        ("must_change", row.must_change.into()),
        ("expires_at", optional(&row.expires_at)),
        ("disabled_at", optional(&row.disabled_at)),
        ("created_at", time(&row.created_at)),
        ("changed_at", time(&row.changed_at)),
    ])
}

/// A JSON object with its members in that order, on a line of its own.
pub fn object<const N: usize>(members: [(&str, Value); N]) -> String {
    let members = members.map(|(name, value)| format!("\"{name}\":{value}"));
    format!("{{{}}}\n", members.join(","))
}
