//! Exports a dump to the outputs, row by row.

use std::fs;

use password_verify_core::kept::keyring::Keyring;

use crate::args::{Options, Stream};
use crate::dump::{At, Dump, Found, Wanted};
use crate::failure::Failure;
use crate::hashes::Hashes;
use crate::keyring;
use crate::not_exported::NotExported;
use crate::output::Output;
use crate::progress::Progress;
use crate::secrets::Secrets;
use crate::vault;

/// Where the rows go.
struct Outputs<'a> {
    hashes: Option<Hashes>,
    secrets: Option<Secrets<'a>>,
    /// Rows that went nowhere.
    failed: u64,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`]. Rows that could be exported are written even then.
pub fn run(options: &Options) -> Result<(), Failure> {
    let ring = options.keyring.as_deref().map(keyring::read).transpose()?;
    let passwords = options.vault_passwords.as_ref().map(vault::passwords).transpose()?;
    let wanted = Wanted {
        hashes: options.output.is_some(),
        secrets: options.secrets.is_some(),
        vaults: passwords.is_some(),
    };
    let mut dump = Dump::open(&options.dump, wanted)?;
    let hashes = options.output.as_ref().map(Output::create).transpose()?;
    let secrets = match options.secrets.as_ref().map(Output::create).transpose() {
        Ok(output) => output,
        Err(failure) => {
            hashes.into_iter().for_each(Output::discard);
            return Err(failure);
        }
    };
    let passwords = passwords.unwrap_or_default();
    let mut outputs = Outputs {
        hashes: hashes.map(|output| Hashes::new(output, options.format)),
        secrets: secrets.map(|output| Secrets::new(output, ring.as_ref(), passwords)),
        failed: 0,
    };
    let about = match &options.dump {
        Stream::File(file) => fs::metadata(file).ok(),
        Stream::Standard => None,
    };
    let progress = Progress::of(about.filter(fs::Metadata::is_file).map(|about| about.len()));
    let read = outputs.rows(&mut dump, ring.as_ref(), &progress);
    drop(progress);
    outputs.end(read)
}

impl Outputs<'_> {
    fn rows(
        &mut self,
        dump: &mut Dump,
        ring: Option<&Keyring>,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let read = self.each(dump, ring, progress);
        for (at, why) in self.secrets.as_mut().map(Secrets::left).into_iter().flatten() {
            self.complain(progress, &at, &why);
        }
        read
    }

    fn each(
        &mut self,
        dump: &mut Dump,
        ring: Option<&Keyring>,
        progress: &Progress,
    ) -> Result<(), Failure> {
        while let Some(found) = dump.next(progress, ring)? {
            let refused = match (found, &mut self.hashes, &mut self.secrets) {
                (Found::Hash(at, row), Some(hashes), _) => {
                    let refused = hashes.write(&row, ring)?;
                    refused.map(|why| (at, why)).into_iter().collect()
                }
                (Found::Secret(at, row), _, Some(secrets)) => {
                    secrets.write(at, *row, dump.installations())?
                }
                (Found::Vault(row), _, Some(secrets)) => secrets.open_vault(&row)?,
                (Found::Malformed(at), ..) => vec![(at, NotExported::Malformed)],
                // Nobody asked for it.
                _ => vec![],
            };
            for (at, why) in refused {
                self.complain(progress, &at, &why);
            }
        }
        Ok(())
    }

    /// Says which row was not exported, and why.
    fn complain(&mut self, progress: &Progress, at: &At, why: &NotExported) {
        self.failed += 1;
        let number = at.number.as_ref().map_or(String::new(), |id| format!(", {} {id}", at.column));
        progress.say(&format!("line {}{number}: {}", at.line, why.why()));
    }

    fn end(self, read: Result<(), Failure>) -> Result<(), Failure> {
        let whole = read.is_ok();
        let hashes = self.hashes.map_or(Ok(()), |hashes| hashes.end(whole));
        let secrets = self.secrets.map_or(Ok(()), |secrets| secrets.end(whole));
        read.and(hashes).and(secrets)?;
        if self.failed > 0 { Err(Failure::Rows(self.failed)) } else { Ok(()) }
    }
}
