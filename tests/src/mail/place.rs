//! Where the servers are installed, where they keep their things, and as whom they run.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;

use crate::cluster::run;

/// Something that `scripts/mail-servers.sh` installs.
pub(crate) fn installed(path: &str) -> PathBuf {
    let folder = std::env::var("PV_MAIL_SERVERS").unwrap_or("/tmp/password_verify-mail".into());
    let path = Path::new(&folder).join(path);
    assert!(path.exists(), "{} is missing: run scripts/mail-servers.sh", path.display());
    path
}

/// Whoever runs the servers: nobody, or the one who runs the tests if that is not root.
pub(crate) struct Servant {
    pub user: String,
    pub group: String,
    /// Where root has to become them.
    pub ids: Option<(u32, u32)>,
}

static SERVANT: LazyLock<Servant> = LazyLock::new(|| {
    let ask = |args: &[&str]| {
        let output = run(Command::new("id").args(args));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let user = ask(&["-un"]);
    if user != "root" {
        return Servant { group: ask(&["-gn"]), user, ids: None };
    }
    let number = |args: &[&str]| ask(args).parse().unwrap();
    let ids = (number(&["-u", "nobody"]), number(&["-g", "nobody"]));
    Servant { user: "nobody".into(), group: ask(&["-gn", "nobody"]), ids: Some(ids) }
});

pub(crate) fn servant() -> &'static Servant {
    &SERVANT
}

/// A folder that goes away with the test, and belongs to the servant.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("pv-mail-").tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    give(folder.path());
    folder
}

/// Makes a folder in one of those, with all above it.
pub(crate) fn make_folder(path: &Path) {
    if !path.exists() {
        make_folder(path.parent().unwrap());
        fs::create_dir(path).unwrap();
        give(path);
    }
}

/// Writes a file into one of those.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap();
    give(path);
}

fn give(path: &Path) {
    if let Some((uid, gid)) = servant().ids {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}
