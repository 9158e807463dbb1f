//! Exports a dump to the output, row by row.

use std::fs;

use password_verify_core::kept::keyring::Keyring;

use crate::args::Options;
use crate::dump::{Dump, Line};
use crate::failure::Failure;
use crate::keyring;
use crate::output::Output;
use crate::progress::Progress;
use crate::row::NotExported;

/// The beginning of the hashes that this extension makes. All others were imported.
const OURS: &str = "$argon2id$";

/// Counts of rows.
#[derive(Default)]
struct Count {
    written: u64,
    /// Exported rows whose hash is another system's.
    imported: u64,
    failed: u64,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`]. Rows that could be exported are written even then.
pub fn run(options: &Options) -> Result<(), Failure> {
    let ring = options.keyring.as_deref().map(keyring::read).transpose()?;
    let mut dump = Dump::open(options.dump.as_deref())?;
    let mut output = Output::create(options.output.as_deref(), options.format)?;
    let about = options.dump.as_ref().and_then(|file| fs::metadata(file).ok());
    let progress = Progress::of(about.filter(fs::Metadata::is_file).map(|about| about.len()));
    let mut count = Count::default();
    let read = rows(&mut dump, ring.as_ref(), &mut output, &mut count, &progress);
    drop(progress);
    let finished = read.and(output.finish());
    if count.written > 0 {
        conclude(&count, &output.name());
    } else if finished.is_err() {
        output.discard();
    }
    finished?;
    if count.failed > 0 { Err(Failure::Rows(count.failed)) } else { Ok(()) }
}

fn rows(
    dump: &mut Dump,
    ring: Option<&Keyring>,
    output: &mut Output,
    count: &mut Count,
    progress: &Progress,
) -> Result<(), Failure> {
    while let Some(line) = dump.next(progress, ring)? {
        let why = match &line.row {
            Some(row) if row.is_placeholder() => continue,
            Some(row) => match row.open(ring) {
                Ok(hash) => {
                    output.write(row, &hash)?;
                    count.written += 1;
                    count.imported += u64::from(!hash.expose().starts_with(OURS));
                    continue;
                }
                Err(why) => why,
            },
            None => NotExported::Malformed,
        };
        count.failed += 1;
        progress.say(&complaint(&line, &why));
    }
    Ok(())
}

/// Says which row was not exported, and why.
fn complaint(line: &Line, why: &NotExported) -> String {
    let number = line.number.as_ref().map_or(String::new(), |id| format!(", blind_index {id}"));
    format!("line {}{number}: {}", line.line, why.why())
}

fn conclude(count: &Count, name: &str) {
    crate::say(&format!("{} rows were written to {name}", count.written));
    if count.imported > 0 {
        crate::say(&format!(
            "{} records are in formats of this extension's importer",
            count.imported
        ));
    }
    crate::say(&format!(
        "warning: {name} holds password hashes, which whoever has them can attack; delete it after use"
    ));
}
