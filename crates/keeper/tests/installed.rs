//! `make install-keeper`: what is put where, and what stays.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const CRATE: &str = env!("CARGO_MANIFEST_DIR");

/// A machine to install into: a folder.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o7777
    }

    fn run(&self, arguments: &[&str]) {
        let script = Path::new(CRATE).join("../../scripts/install_keeper.sh");
        let done = Command::new(script).args(arguments).env("DESTDIR", self.0.path()).output();
        let output = done.unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }
}

fn said(output: &Output) -> String {
    String::from_utf8([&*output.stdout, &*output.stderr].concat()).unwrap()
}

#[test]
fn it_is_installed_and_removed_and_the_configuration_stays() {
    let machine = Machine::new();
    machine.run(&[]);
    for (name, mode) in [
        ("usr/local/bin/pv-keeper", 0o755),
        ("etc/systemd/system/pv-keeper.service", 0o644),
        ("usr/local/lib/sysusers.d/pv-keeper.conf", 0o644),
        ("etc/password_verify", 0o755),
        ("etc/password_verify/keeper.toml", 0o644),
        ("etc/password_verify/keeper", 0o700),
    ] {
        assert_eq!(machine.mode(name), mode, "{name}");
    }
    let version = Command::new(machine.path("usr/local/bin/pv-keeper")).arg("--version").output();
    assert_eq!(said(&version.unwrap()), concat!("pv-keeper ", env!("CARGO_PKG_VERSION"), "\n"));
    the_example_lacks_the_connection_string(&machine);
    the_service_manager_finds_no_fault(&machine);

    // Again, with what has been changed and added meanwhile.
    let (toml, dsn) = ("etc/password_verify/keeper.toml", "etc/password_verify/keeper/dsn");
    fs::write(machine.path(toml), "changed").unwrap();
    fs::write(machine.path(dsn), "host=/run").unwrap();
    machine.run(&[]);
    machine.run(&["--remove"]);
    assert_eq!(fs::read_to_string(machine.path(toml)).unwrap(), "changed");
    assert_eq!(fs::read_to_string(machine.path(dsn)).unwrap(), "host=/run");
    for name in ["bin/pv-keeper", "lib/sysusers.d/pv-keeper.conf"] {
        assert!(!machine.path("usr/local").join(name).exists(), "{name}");
    }
    assert!(!machine.path("etc/systemd/system/pv-keeper.service").exists());
    // Nothing is left to remove.
    machine.run(&["--remove"]);
}

/// The example is a configuration; what it wants besides has to be written first.
fn the_example_lacks_the_connection_string(machine: &Machine) {
    let toml = machine.path("etc/password_verify/keeper.toml");
    let mut check = Command::new(machine.path("usr/local/bin/pv-keeper"));
    let check = check.arg("--config").arg(&toml).arg("--check").env_remove("CREDENTIALS_DIRECTORY");
    let output = check.output().unwrap();
    let dsn = toml.with_file_name("dsn");
    let expected =
        format!("pv-keeper: {}: No such file or directory (os error 2)\n", dsn.display());
    assert!(!output.status.success());
    assert_eq!(said(&output), expected);
}

/// With what it starts in its place, the unit is without fault.
fn the_service_manager_finds_no_fault(machine: &Machine) {
    let unit = fs::read_to_string(machine.path("etc/systemd/system/pv-keeper.service")).unwrap();
    let program = machine.path("usr/local/bin/pv-keeper");
    let there = unit.replace("/usr/local/bin/pv-keeper", program.to_str().unwrap());
    assert_ne!(there, unit);
    let copy = machine.path("pv-keeper.service");
    fs::write(&copy, there).unwrap();
    let verify = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output();
    let output = verify.unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(said(&output), "");
}
