//! The output: a new file that only its owner can read, or standard output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use password_verify_core::rules::secret::Secret;
use serde_json::Value;

use crate::args::Format;
use crate::copy_text::encode;
use crate::failure::Failure;
use crate::row::{Row, Time};
use crate::timestamp::rfc3339;

pub struct Output {
    to: To,
    format: Format,
}

enum To {
    File(BufWriter<File>, PathBuf),
    Stdout(BufWriter<io::Stdout>),
}

impl Output {
    /// Creates a file with mode 0600, or writes to standard output if `path` is `None`.
    ///
    /// # Errors
    /// [`Failure::Failed`], also if the file already exists.
    pub fn create(path: Option<&Path>, format: Format) -> Result<Self, Failure> {
        let Some(path) = path else {
            return Ok(Self { to: To::Stdout(BufWriter::new(io::stdout())), format });
        };
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|error| Failure::write(&path.display().to_string(), &error))?;
        Ok(Self { to: To::File(BufWriter::new(file), path.to_owned()), format })
    }

    /// The name of the output, for messages.
    pub fn name(&self) -> String {
        match &self.to {
            To::File(_, path) => path.display().to_string(),
            To::Stdout(_) => "standard output".into(),
        }
    }

    /// Writes a row and its hash.
    ///
    /// # Errors
    /// [`Failure::Failed`] if writing fails.
    pub fn write(&mut self, row: &Row, hash: &Secret) -> Result<(), Failure> {
        let line = Secret::new(match self.format {
            Format::Tsv => format!("{}\t{}\n", encode(&row.user_id), encode(hash.expose())),
            Format::JsonLines => json(row, hash),
        });
        let bytes = line.expose().as_bytes();
        let written = match &mut self.to {
            To::File(out, _) => out.write_all(bytes),
            To::Stdout(out) => out.write_all(bytes),
        };
        written.map_err(|error| Failure::write(&self.name(), &error))
    }

    /// Flushes everything to disk.
    ///
    /// # Errors
    /// [`Failure::Failed`] if writing fails.
    pub fn finish(&mut self) -> Result<(), Failure> {
        let finished = match &mut self.to {
            To::File(out, _) => out.flush().and_then(|()| out.get_ref().sync_all()),
            To::Stdout(out) => out.flush(),
        };
        finished.map_err(|error| Failure::write(&self.name(), &error))
    }

    /// Removes a file to which nothing was written.
    pub fn discard(self) {
        if let To::File(_, path) = self.to {
            let _ = fs::remove_file(path);
        }
    }
}

/// One JSON object on one line.
fn json(row: &Row, hash: &Secret) -> String {
    let time = |time: &Time| Value::from(rfc3339(time.at).unwrap_or_else(|| time.text.clone()));
    let optional = |some: &Option<Time>| some.as_ref().map_or(Value::Null, time);
    let members = [
        ("user_id", row.user_id.as_str().into()),
        ("hash", hash.expose().into()),
        ("must_change", row.must_change.into()),
        ("expires_at", optional(&row.expires_at)),
        ("disabled_at", optional(&row.disabled_at)),
        ("created_at", time(&row.created_at)),
        ("changed_at", time(&row.changed_at)),
    ];
    let members = members.map(|(name, value): (_, Value)| format!("\"{name}\":{value}"));
    format!("{{{}}}\n", members.join(","))
}
