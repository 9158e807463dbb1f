//! Certificates for `localhost`: one that a client who knows the authority accepts, and others.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// An authority and what it has signed, in a folder of their own.
pub struct Certificates {
    folder: TempDir,
    /// What clients trust.
    pub authority: PathBuf,
    /// For `localhost` and 127.0.0.1.
    pub good: Identity,
    /// For `localhost`, until the year 2021.
    pub expired: Identity,
    /// For `localhost`, from an authority that nobody trusts.
    pub foreign: Identity,
    /// From the right authority, for `mail.example.org`.
    pub other_name: Identity,
    /// Of a client.
    pub client: Identity,
}

impl Certificates {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("pv-certificates-").tempdir().unwrap();
        // Servers run as somebody else.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (authority, pem) = authority("An authority for tests");
        let (stranger, _) = self::authority("A stranger");
        let at = folder.path();
        // Names that are addresses become such.
        let good = CertificateParams::new(["localhost", "127.0.0.1"].map(String::from)).unwrap();
        let mut expired = good.clone();
        expired.not_before = date_time_ymd(2020, 1, 1);
        expired.not_after = date_time_ymd(2021, 1, 1);
        let other_name = CertificateParams::new(vec!["mail.example.org".into()]).unwrap();
        let visitor = CertificateParams::default();
        fs::write(at.join("authority.pem"), pem).unwrap();
        Self {
            authority: at.join("authority.pem"),
            good: sign(at, "good", good.clone(), &authority),
            expired: sign(at, "expired", expired, &authority),
            foreign: sign(at, "foreign", good, &stranger),
            other_name: sign(at, "other_name", other_name, &authority),
            client: sign_for(
                ExtendedKeyUsagePurpose::ClientAuth,
                at,
                "client",
                visitor,
                &authority,
            ),
            folder,
        }
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// For a client who trusts the authority and nobody else.
    pub fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.authority).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().unwrap();
        Arc::new(config.with_root_certificates(roots).with_no_client_auth())
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

impl Identity {
    /// For a server that a test writes itself.
    pub fn server(&self) -> Arc<ServerConfig> {
        let chain = vec![CertificateDer::from_pem_file(&self.certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(&self.key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().unwrap();
        Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap())
    }
}

pub(crate) fn authority(name: &str) -> (Issuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

fn sign(
    folder: &Path,
    name: &str,
    params: CertificateParams,
    authority: &Issuer<'static, KeyPair>,
) -> Identity {
    sign_for(ExtendedKeyUsagePurpose::ServerAuth, folder, name, params, authority)
}

pub(crate) fn sign_for(
    usage: ExtendedKeyUsagePurpose,
    folder: &Path,
    name: &str,
    mut params: CertificateParams,
    authority: &Issuer<'static, KeyPair>,
) -> Identity {
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap().pem();
    let path = |end: &str| folder.join(format!("{name}.{end}"));
    let identity = Identity { certificate: path("pem"), key: path("key") };
    fs::write(&identity.certificate, certificate).unwrap();
    fs::write(&identity.key, key.serialize_pem()).unwrap();
    identity
}
