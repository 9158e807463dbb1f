//! The output: a new file that only its owner can read, or standard output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use password_verify_core::rules::secret::Secret;

use crate::args::Stream;
use crate::failure::Failure;

pub struct Output {
    to: To,
    /// How many lines were written.
    pub written: u64,
}

enum To {
    File(BufWriter<File>, PathBuf),
    Stdout(BufWriter<io::Stdout>),
}

impl Output {
    /// Creates a file with mode 0600, or writes to standard output.
    ///
    /// # Errors
    /// [`Failure::Failed`], also if the file already exists.
    pub fn create(stream: &Stream) -> Result<Self, Failure> {
        let to = match stream {
            Stream::Standard => To::Stdout(BufWriter::new(io::stdout())),
            Stream::File(path) => {
                let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
                let file =
                    file.map_err(|error| Failure::write(&path.display().to_string(), &error))?;
                To::File(BufWriter::new(file), path.clone())
            }
        };
        Ok(Self { to, written: 0 })
    }

    /// The name of the output, for messages.
    pub fn name(&self) -> String {
        match &self.to {
            To::File(_, path) => path.display().to_string(),
            To::Stdout(_) => "standard output".into(),
        }
    }

    /// Writes a line, which ends with its newline.
    ///
    /// # Errors
    /// [`Failure::Failed`] if writing fails.
    pub fn write(&mut self, line: &Secret) -> Result<(), Failure> {
        let bytes = line.expose().as_bytes();
        let written = match &mut self.to {
            To::File(out, _) => out.write_all(bytes),
            To::Stdout(out) => out.write_all(bytes),
        };
        written.map_err(|error| Failure::write(&self.name(), &error))?;
        self.written += 1;
        Ok(())
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
