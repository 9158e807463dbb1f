//! TLS towards mail servers and token endpoints. There is no switch that turns a check off.

use std::io;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::settings::Fault;
use crate::trouble::Trouble;

/// Whom to trust, and how.
#[derive(Clone)]
pub struct Trust {
    system: Arc<ClientConfig>,
}

/// The system has no certificates that can be read.
#[derive(Debug)]
pub struct NoRoots;

impl From<NoRoots> for Fault {
    fn from(_: NoRoots) -> Self {
        "the system has no certificates to trust".into()
    }
}

impl Trust {
    /// Those that [`system_roots`] reads.
    ///
    /// # Errors
    /// [`NoRoots`].
    pub fn system() -> Result<Self, NoRoots> {
        Ok(Self { system: Arc::new(config(system_roots()?).ok_or(NoRoots)?) })
    }

    /// Those certificates of a destination, and nobody else.
    fn of(&self, ca: Option<&str>) -> Result<Arc<ClientConfig>, Trouble> {
        let Some(pem) = ca else { return Ok(Arc::clone(&self.system)) };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(certificate.map_err(|_| Trouble::Tls)?).map_err(|_| Trouble::Tls)?;
        }
        Ok(Arc::new(config(roots).ok_or(Trouble::Internal)?))
    }

    /// Talks TLS with a server that proves to be `host`.
    ///
    /// # Errors
    /// [`Trouble::Tls`], [`Trouble::Disconnected`].
    pub async fn connect(
        &self,
        host: &str,
        ca: Option<&str>,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Trouble> {
        let connector = TlsConnector::from(self.of(ca)?);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| Trouble::Tls)?;
        connector.connect(name, stream).await.map_err(|why| of_handshake(&why))
    }
}

/// The system's certificates, or those of the file that `SSL_CERT_FILE` names.
///
/// # Errors
/// [`NoRoots`].
pub fn system_roots() -> Result<RootCertStore, NoRoots> {
    let mut roots = RootCertStore::empty();
    let (added, _) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 { Err(NoRoots) } else { Ok(roots) }
}

/// TLS 1.2 and 1.3 with the library's own choice of ciphers. `None` if it has none.
pub fn trusting(roots: RootCertStore) -> Option<ConfigBuilder<ClientConfig, WantsClientCert>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().ok()?;
    Some(builder.with_root_certificates(roots))
}

fn config(roots: RootCertStore) -> Option<ClientConfig> {
    trusting(roots).map(|it| it.with_no_client_auth())
}

/// What rustls finds fault with is an `InvalidData` with its error inside; all else is the connection's.
fn of_handshake(why: &io::Error) -> Trouble {
    let is_tls = why.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
    if is_tls { Trouble::Tls } else { of_io(why) }
}

/// What became of a connection that stood.
pub fn of_io(why: &io::Error) -> Trouble {
    match why.kind() {
        io::ErrorKind::TimedOut => Trouble::Timeout,
        io::ErrorKind::FileTooLarge => Trouble::TooLarge,
        // What the parser, or whoever reads along with it, says of what cannot be read.
        io::ErrorKind::Other => Trouble::Protocol,
        _ if why.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => Trouble::Tls,
        _ => Trouble::Disconnected,
    }
}
