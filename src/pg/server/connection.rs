//! The connection of this session: where it comes from, whether it is encrypted, and whose
//! certificate the client has shown. None of it changes during a session.
//!
//! What the server has noted of it is read from memory. Its functions for TLS (`be_tls_*`) are not
//! called: a server that was built without OpenSSL has none, and could not load the library.

use core::net::IpAddr;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

use password_verify_core::rules::connection::{Connection, is_loopback};
use password_verify_core::trail::subject::{MAX_SUBJECT, subject};
use pgrx::datum::Inet;
use pgrx::pg_sys;

/// The certificate of the client, which the server has verified, in plain bytes for shared memory.
/// Each text is ASCII, and zeroes follow it; nothing but zeroes where there is none.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Certificate {
    pub subject: [u8; MAX_SUBJECT],
    /// Decimal digits, of which PostgreSQL keeps 63; RFC 5280 section 4.1.2.2 allows 49.
    pub serial: [u8; 64],
}

impl Certificate {
    const NONE: Self = Self { subject: [0; MAX_SUBJECT], serial: [0; 64] };

    pub fn of_session() -> Self {
        certificate().unwrap_or(Self::NONE)
    }
}

/// The beginning of PostgreSQL's `Port` (libpq/libpq-be.h), of which pgrx knows only the name. Its
/// comments keep the places of these fields, whatever a server of that major version is built with.
#[repr(C)]
struct Port {
    sock: c_int,
    noblock: bool,
    proto: u32,
    addresses: [pg_sys::SockAddr; 2],
    remote_host: [*const c_char; 2],
    resolved: [c_int; 2],
    remote_port: *const c_char,
    #[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16"))]
    can_accept_connections: c_int,
    #[cfg(feature = "pg18")]
    local_host: [c_char; 64],
    startup_packet: [*const c_void; 5],
    hba: *const c_void,
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    authn_id: *const c_char,
    keepalives: [c_int; 8],
    #[cfg(feature = "pg18")]
    scram_keys: ([u8; 64], bool),
    gss: *const c_void,
    ssl_in_use: bool,
    peer_cn: *const c_char,
    /// As RFC 2253 writes it.
    peer_dn: *const c_char,
    peer_cert_valid: bool,
}

/// `AF_UNIX`, on every system.
const UNIX: u16 = 1;

/// What a secret may want to know of the connection that it crosses.
pub fn of_session() -> Connection {
    static CONNECTION: OnceLock<Connection> = OnceLock::new();
    *CONNECTION.get_or_init(|| {
        // SAFETY: this backend's own entry, or null where nobody has connected; what it points to exists where its
        // flags say so.
        let (socket, encrypted) = unsafe {
            let Some(entry) = pg_sys::MyBEEntry.as_ref() else {
                return Connection { local: true, encrypted: false, certified: false };
            };
            let by_gss = entry.st_gss && (*entry.st_gssstatus).gss_enc;
            (entry.st_clientaddr.addr.ss_family == UNIX, entry.st_ssl || by_gss)
        };
        let local = socket || peer().is_some_and(is_loopback);
        Connection { local, encrypted, certified: certificate().is_some() }
    })
}

/// The certificate that the client has shown, if the server has verified it.
fn certificate() -> Option<Certificate> {
    static CERTIFICATE: OnceLock<Option<Certificate>> = OnceLock::new();
    let read = || {
        // SAFETY: what this backend has noted of its client, or null where nobody has connected; what it points to exists
        // where its flags say so, and ends in a zero.
        unsafe {
            let port = pg_sys::MyProcPort.cast::<Port>().as_ref()?;
            let entry = pg_sys::MyBEEntry.as_ref()?;
            if !(entry.st_ssl && port.ssl_in_use && port.peer_cert_valid) {
                return None;
            }
            let serial = CStr::from_ptr((*entry.st_sslstatus).ssl_client_serial.as_ptr());
            let dn = Some(port.peer_dn).filter(|dn| !dn.is_null()).map(|dn| CStr::from_ptr(dn));
            let dn = dn.unwrap_or_default();
            let mut it = Certificate::NONE;
            it.subject
                .iter_mut()
                .zip(subject(dn.to_bytes()).bytes())
                .for_each(|(to, from)| *to = from);
            it.serial.iter_mut().zip(serial.to_bytes()).for_each(|(to, from)| *to = *from);
            Some(it)
        }
    };
    *CERTIFICATE.get_or_init(read)
}

/// The address of the other end; `None` for a Unix socket.
pub fn peer() -> Option<IpAddr> {
    static PEER: OnceLock<Option<IpAddr>> = OnceLock::new();
    *PEER.get_or_init(|| {
        // SAFETY: reads the connection of this session; NULL for a Unix socket.
        let peer: Option<Inet> =
            unsafe { pgrx::direct_function_call(pg_sys::inet_client_addr, &[]) };
        peer.as_ref().and_then(address)
    })
}

/// The address of an `inet`, whatever its mask. One that is IPv4 in IPv6 (`::ffff:192.0.2.1`), as programs that listen for
/// both see it, is IPv4: otherwise a question about one would miss the events of the other.
pub fn address(inet: &Inet) -> Option<IpAddr> {
    let text = inet.0.as_str();
    let address = text.split_once('/').map_or(text, |(address, _)| address);
    address.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}
