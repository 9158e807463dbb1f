//! The identity of the calling session, as the server knows it and not as the application claims
//! it.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::connection;
use super::connection::Certificate;

/// An address: a first byte of 0 for none, 1 for the local machine, 4 or 6; then its bytes.
pub type RawAddr = [u8; 17];

/// A name of at most 63 bytes, followed by a zero.
pub type RawName = [u8; 64];

/// The caller's identity in plain bytes, for shared memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Caller {
    /// The role that logged in, which SET ROLE does not change.
    pub login: pg_sys::Oid,
    pub pid: i32,
    pub login_role: RawName,
    /// The role set by SET ROLE, or else the login role.
    pub acting_role: RawName,
    pub application_name: RawName,
    /// The address of the other end of the connection.
    pub peer_addr: RawAddr,
    /// The client's, if it has shown one and the server has verified it.
    pub certificate: Certificate,
}

impl Caller {
    pub fn now() -> Self {
        // SAFETY: plain values of this process.
        let (login, acting, pid) =
            unsafe { (pg_sys::GetSessionUserId(), pg_sys::GetOuterUserId(), pg_sys::MyProcPid) };
        let login_role = role_name(login);
        Self {
            login,
            pid,
            login_role,
            acting_role: if acting == login { login_role } else { role_name(acting) },
            application_name: application_name(),
            peer_addr: peer(),
            certificate: Certificate::of_session(),
        }
    }
}

fn role_name(role: pg_sys::Oid) -> RawName {
    // SAFETY: a missing role gives null; the name is a C string of at most 63 bytes, copied at
    // once.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        if name.is_null() {
            return raw_name(role.to_u32().to_string().as_bytes());
        }
        let raw = raw_name(CStr::from_ptr(name).to_bytes());
        pg_sys::pfree(name.cast());
        raw
    }
}

/// The name of a role, or its number if it is gone.
pub fn login_name(role: u32) -> String {
    let name = role_name(role.into());
    String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

fn application_name() -> RawName {
    // SAFETY: a C string of this process, or null; copied at once.
    unsafe {
        let name = pg_sys::application_name;
        if name.is_null() { [0; 64] } else { raw_name(CStr::from_ptr(name).to_bytes()) }
    }
}

fn raw_name(bytes: &[u8]) -> RawName {
    let mut raw = [0; 64];
    let len = bytes.len().min(63);
    raw[..len].copy_from_slice(&bytes[..len]);
    raw
}

/// The address of the other end.
fn peer() -> RawAddr {
    match connection::peer() {
        Some(address) => raw_addr(Some(address)),
        None => {
            let mut local = [0; 17];
            local[0] = 1;
            local
        }
    }
}

/// Is the role that has logged in a superuser?
pub fn is_superuser() -> bool {
    // SAFETY: a plain value, and a catalog look-up in a transaction.
    unsafe { pg_sys::superuser_arg(pg_sys::GetSessionUserId()) }
}

pub fn raw_addr(address: Option<core::net::IpAddr>) -> RawAddr {
    let mut raw = [0; 17];
    match address {
        None => {}
        Some(core::net::IpAddr::V4(v4)) => {
            raw[0] = 4;
            raw[1..5].copy_from_slice(&v4.octets());
        }
        Some(core::net::IpAddr::V6(v6)) => {
            raw[0] = 6;
            raw[1..].copy_from_slice(&v6.octets());
        }
    }
    raw
}

/// An address as text, for a row of the audit trail.
pub fn addr_text(raw: &RawAddr) -> Option<String> {
    match raw[0] {
        1 => Some("local".into()),
        4 => Some(core::net::Ipv4Addr::new(raw[1], raw[2], raw[3], raw[4]).to_string()),
        6 => {
            let mut octets = [0; 16];
            octets.copy_from_slice(&raw[1..]);
            Some(core::net::Ipv6Addr::from(octets).to_string())
        }
        _ => None,
    }
}
