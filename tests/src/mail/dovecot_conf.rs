//! How Dovecot 2.3 is configured so that it runs unprivileged, beside others, and makes no test wait.

use std::path::{Path, PathBuf};

use super::oidc::Oidc;
use super::place::servant;
use super::ports::Port;

/// One of its programs.
pub(super) fn program(name: &str) -> PathBuf {
    let places = ["/usr/sbin", "/usr/bin"].map(|folder| Path::new(folder).join(name));
    let found = places.into_iter().find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: run scripts/mail-servers.sh"))
}

/// `dovecot.conf`.
pub(super) fn settings(folder: &Path, imaps: &Port, imap: &Port) -> String {
    let (folder, imaps, imap) = (folder.display(), imaps.number, imap.number);
    let (user, group) = (&servant().user, &servant().group);
    format!(
        "base_dir = {folder}/run
state_dir = {folder}/state
log_path = /dev/stderr
protocols = imap
listen = 127.0.0.1
mail_location = maildir:~
namespace inbox {{
  inbox = yes
  separator = /
}}
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
first_valid_gid = 1
last_valid_uid = 0
ssl = required
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
disable_plaintext_auth = yes
auth_mechanisms = plain login scram-sha-256 xoauth2 oauthbearer
passdb {{
  driver = passwd-file
  args = {folder}/users
  mechanisms = plain login scram-sha-256
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}/mail/%u allow_all_users=yes
}}
# A test that guesses a password does not wait.
auth_failure_delay = 0
# Many clients at once, all from one address.
mail_max_userip_connections = 10000
default_process_limit = 1024
default_client_limit = 5000
default_vsz_limit = 1 G
# Nothing here is about losing power.
mail_fsync = never
service imap-login {{
  chroot =
  service_count = 0
  process_min_avail = 2
  process_limit = 8
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
  # Which makes an address wait that has guessed wrong.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"
    )
}

/// What is added where access tokens are accepted.
pub(super) fn oauth_passdb(folder: &Path) -> String {
    format!(
        "passdb {{
  driver = oauth2
  args = {}/oauth2.conf
  mechanisms = xoauth2 oauthbearer
}}
",
        folder.display()
    )
}

/// How it asks the provider whose a token is.
pub(super) fn oauth(oidc: &Oidc) -> String {
    format!(
        "introspection_url = {}
introspection_mode = post
force_introspection = yes
username_attribute = sub
active_attribute = active
active_value = true
tls_ca_cert_file = {}
",
        oidc.introspection_url(),
        oidc.authority().display()
    )
}
