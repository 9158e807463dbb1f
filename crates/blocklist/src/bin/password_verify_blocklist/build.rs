//! Builds a filter: reads the lists, writes a new file, reads it back, and puts it in place.

use std::fs::{self, File, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use password_verify_blocklist::build::{Keys, NotBuilt};
use password_verify_blocklist::{Filter, Key};
use tempfile::NamedTempFile;

use crate::args::{Build, List};
use crate::check::summary;
use crate::failure::Failure;
use crate::lines::Lines;
use crate::list::Entry;
use crate::progress::Progress;

/// How many passwords that are not listed are looked up, to count false positives.
const PROBES: u64 = 1_000_000;
/// The number of lines between two updates of the progress.
const STEP: u64 = 1 << 12;

/// Builds the filter.
///
/// # Errors
/// [`Failure`]. There is no new file then, and an existing one is unchanged.
pub fn run(options: &Build) -> Result<(), Failure> {
    let began = Instant::now();
    let folder = folder(&options.output);
    // Created first, so that a folder without write permission fails before an hour of reading.
    let mut file = create(folder, &options.output)?;
    let mut found = Found::default();
    read(options, &mut found)?;
    found.judge(options.lenient)?;
    let (lines, rare, impossible) = (found.lines, found.rare, found.impossible);
    let listed = found.keys.len() as u64;
    let keys = Keys::new(found.keys).map_err(failed)?;
    write(&keys, &mut file, &options.output)?;
    let entries = keys.entries();
    drop(keys);
    let told = read_back(entries, &file, &options.output)?;
    put(file, folder, &options.output)?;
    crate::say(&format!(
        "lines                {lines}\n\
         left out             {} duplicates, {rare} rare, {impossible} not utf-8 or too long, \
         {} malformed\n\
         {told}\n\
         time                 {:.1} s",
        listed - entries,
        found.malformed,
        began.elapsed().as_secs_f64()
    ))
}

/// What was found in the lists.
#[derive(Default)]
struct Found {
    keys: Vec<Key>,
    lines: u64,
    rare: u64,
    impossible: u64,
    malformed: u64,
    /// File name and line number.
    first_malformed: String,
}

impl Found {
    /// # Errors
    /// [`Failure::Malformed`] if there are malformed lines and they are not to be skipped.
    fn judge(&self, lenient: bool) -> Result<(), Failure> {
        if self.malformed == 0 || lenient {
            return Ok(());
        }
        Err(Failure::Malformed(format!(
            "malformed lines: {}, the first is {}; a line of --sha1 is 40 hexadecimal digits, \
             or these and :COUNT; nothing was written; --lenient skips such lines",
            self.malformed, self.first_malformed
        )))
    }
}

fn name(list: &List) -> String {
    list.file.as_ref().map_or("standard input".into(), |file| file.display().to_string())
}

fn read(options: &Build, found: &mut Found) -> Result<(), Failure> {
    let size = |list: &List| {
        let about = fs::metadata(list.file.as_ref()?).ok()?;
        about.is_file().then_some(about.len())
    };
    let mut progress = Progress::of_bytes("reading", options.lists.iter().map(size).sum());
    let mut before = 0;
    for list in &options.lists {
        let unread = |error| Failure::read(&name(list), &error);
        let mut lines = Lines::open(list.file.as_deref()).map_err(unread)?;
        while let Some(line) = lines.next().map_err(unread)? {
            match Entry::read(list.kind, &line, options.min_count) {
                Entry::Key(key) => found.keys.push(key),
                Entry::Blank => {}
                Entry::Rare => found.rare += 1,
                Entry::Impossible => found.impossible += 1,
                Entry::Malformed => {
                    if found.malformed == 0 {
                        found.first_malformed = format!("{}:{}", name(list), lines.number);
                    }
                    found.malformed += 1;
                }
            }
            if lines.number.is_multiple_of(STEP) {
                progress.at(before + lines.bytes);
            }
        }
        before += lines.bytes;
        progress.at(before);
        found.lines += lines.number;
    }
    Ok(())
}

/// Creates a new file in the folder, which is removed unless it is put in place.
fn create(folder: &Path, output: &Path) -> Result<NamedTempFile, Failure> {
    tempfile::Builder::new()
        .prefix(".password_verify_blocklist-")
        // The usual permissions, because the server reads it as another user.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(|error| unwritten(output, &error))
}

/// Writes the file and flushes it to disk.
fn write(keys: &Keys, file: &mut NamedTempFile, output: &Path) -> Result<(), Failure> {
    let mut progress = Progress::of_entries("building", keys.entries());
    let out = BufWriter::new(file.as_file_mut());
    keys.write(out, |done| progress.at(done)).map_err(|error| match error {
        NotBuilt::Io(error) => unwritten(output, &error),
        other => failed(other),
    })?;
    file.as_file().sync_all().map_err(|error| unwritten(output, &error))
}

/// Opens the written file as the server will, and looks up passwords that are not listed.
fn read_back(entries: u64, file: &NamedTempFile, output: &Path) -> Result<String, Failure> {
    let bytes = fs::read(file.path())
        .map_err(|error| Failure::read(&file.path().display().to_string(), &error))?;
    let filter = Filter::open(&bytes).map_err(|damaged| Failure::damaged(output, damaged))?;
    if filter.entries() != entries {
        return Err(Failure::Damaged(format!("{}: other entries than listed", output.display())));
    }
    let random = RandomState::new();
    let probes = (0..PROBES).map(|number| format!("{:016x}", random.hash_one(number)));
    let found = probes.filter(|password| filter.contains(password)).count();
    let summary = summary(&filter, bytes.len() as u64);
    Ok(format!("{summary}; measured {found} in {PROBES}"))
}

/// Replaces the old file atomically and durably.
fn put(file: NamedTempFile, folder: &Path, output: &Path) -> Result<(), Failure> {
    file.persist(output).map_err(|error| unwritten(output, &error.error))?;
    let folder = File::open(folder).and_then(|folder| folder.sync_all());
    folder.map_err(|error| unwritten(output, &error))
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn unwritten(output: &Path, error: &io::Error) -> Failure {
    Failure::write(&output.display().to_string(), error)
}

fn failed(error: NotBuilt) -> Failure {
    Failure::Failed(error.to_string())
}
