//! Mails in folders of Dovecot, beside Dovecot.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::place::{make_folder, write};

/// Names sort in the order in which mails were delivered, which becomes that of their UIDs.
static NUMBER: AtomicU64 = AtomicU64::new(1_000_000_000);

/// A mailbox as a folder.
pub(crate) struct Maildir(PathBuf);

impl Maildir {
    /// `INBOX` is the user's folder itself, any other is one in it.
    pub fn of(home: &Path, mailbox: &str) -> Self {
        if mailbox == "INBOX" {
            return Self(home.to_owned());
        }
        Self(home.join(format!(".{}", mailbox.replace('/', "."))))
    }

    pub fn create(&self) {
        for name in ["tmp", "new", "cur"] {
            make_folder(&self.0.join(name));
        }
    }

    /// It is there whole or not at all.
    pub fn deliver(&self, message: &[u8]) {
        let name = format!("{}.M1P1.localhost", NUMBER.fetch_add(1, Ordering::Relaxed));
        let arriving = self.0.join("tmp").join(&name);
        write(&arriving, message);
        fs::rename(arriving, self.0.join("new").join(name)).unwrap();
    }

    /// The mails, as folder and name, which holds the flags.
    pub fn files(&self) -> BTreeSet<String> {
        let list = |folder: &'static str| {
            let entries = fs::read_dir(self.0.join(folder)).unwrap();
            entries.map(move |entry| format!("{folder}/{}", entry.unwrap().file_name().display()))
        };
        list("new").chain(list("cur")).collect()
    }

    /// Makes the server forget how the mails were numbered.
    pub fn forget_numbers(&self) {
        let entries = fs::read_dir(&self.0).unwrap().map(Result::unwrap);
        for entry in
            entries.filter(|entry| entry.file_name().display().to_string().starts_with("dovecot"))
        {
            // The one that says which number was the last is what makes the next one another.
            if !entry.file_name().display().to_string().starts_with("dovecot-uidvalidity") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}
