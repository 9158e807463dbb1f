//! Certificates that nobody should accept, beside those of [`Certificates`](super::certificates::Certificates).

use std::fs;
use std::path::Path;
use std::sync::Arc;

use base64ct::{Base64, Encoding};
use rcgen::{CertificateParams, KeyPair, PublicKeyData, SigningKey};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::certificates::Identity;

/// For `localhost`, signed by its own key, and by nobody else.
pub fn self_signed(folder: &Path) -> Identity {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    identity(folder, "self_signed", &pem, &key)
}

/// The same as it was done before 1996: version 1, with the name as the common name.
pub fn version_1(folder: &Path) -> Identity {
    let key = KeyPair::generate().unwrap();
    // ecdsa-with-SHA256, and in the name id-at-commonName.
    let algorithm = der(0x30, &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]);
    let common = [&[0x06, 3, 0x55, 0x04, 0x03][..], &der(0x0c, b"localhost")].concat();
    let name = der(0x30, &der(0x31, &der(0x30, &common)));
    let times = [der(0x17, b"200101000000Z"), der(0x17, b"400101000000Z")].concat();
    let fields = [
        vec![0x02, 1, 1],
        algorithm.clone(),
        name.clone(),
        der(0x30, &times),
        name,
        key.subject_public_key_info(),
    ];
    let signed = der(0x30, &fields.concat());
    let signature = [vec![0], key.sign(&signed).unwrap()].concat();
    let certificate = der(0x30, &[signed, algorithm, der(0x03, &signature)].concat());
    let text = Base64::encode_string(&certificate);
    let lines: String = text
        .as_bytes()
        .chunks(64)
        .fold(String::new(), |all, line| all + str::from_utf8(line).unwrap() + "\n");
    let pem = format!("-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n");
    identity(folder, "version_1", &pem, &key)
}

/// For a server that presents a certificate that it could not read itself.
pub fn server(identity: &Identity) -> Arc<ServerConfig> {
    let chain = vec![CertificateDer::from_pem_file(&identity.certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
    let key = ring::sign::any_supported_type(&key).unwrap();
    let shown = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_no_client_auth().with_cert_resolver(shown))
}

/// One element of DER.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let size = content.len();
    let size = match size {
        0..0x80 => vec![size as u8],
        _ => vec![0x82, (size >> 8) as u8, size as u8],
    };
    [&[tag][..], &size, content].concat()
}

fn identity(folder: &Path, name: &str, pem: &str, key: &KeyPair) -> Identity {
    let path = |end: &str| folder.join(format!("{name}.{end}"));
    let identity = Identity { certificate: path("pem"), key: path("key") };
    fs::write(&identity.certificate, pem).unwrap();
    fs::write(&identity.key, key.serialize_pem()).unwrap();
    identity
}
