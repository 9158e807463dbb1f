//! Builds `common/common.filter`, which the extension includes, from the lists beside it: `cargo
//! run --package password-verify-blocklist --example common`.
//!
//! The lists are as published; their entries get the form in which passwords are looked up.

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;

use password_verify_blocklist::build::Keys;
use password_verify_blocklist::{Filter, Key};
use password_verify_core::strength::common;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("common");
    let mut keys = Vec::new();
    for list in ["django.txt", "zxcvbn.txt", "password.txt", "more.txt"] {
        let text = fs::read_to_string(folder.join(list))?;
        keys.extend(text.lines().filter_map(common::entry).map(|entry| Key::of(&entry)));
    }
    let path = folder.join("common.filter");
    Keys::new(keys)?.write(File::create(&path)?, |_| ())?;
    println!("{} entries in {}", Filter::open(&fs::read(&path)?)?.entries(), path.display());
    Ok(())
}
