//! The certificate of a server that speaks TLS, and the load's trust in it.

use std::{
    fs,
    path::Path,
    sync::{Arc, OnceLock},
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore, crypto::ring::default_provider, pki_types::ServerName};

const NAME: &str = "localhost";

/// One certificate for all servers of this process.
struct Trusted {
    chain: String,
    key: String,
    client: Arc<ClientConfig>,
}

fn trusted() -> anyhow::Result<&'static Trusted> {
    static TRUSTED: OnceLock<Trusted> = OnceLock::new();
    if let Some(trusted) = TRUSTED.get() {
        return Ok(trusted);
    }
    let CertifiedKey { cert, key_pair } = generate_simple_self_signed([NAME.to_owned()])?;
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone())?;
    let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let trusted = Trusted {
        chain: cert.pem(),
        key: key_pair.serialize_pem(),
        client: Arc::new(client),
    };
    Ok(TRUSTED.get_or_init(|| trusted))
}

/// The flags of a server with TLS; the files they name are written into this
/// folder.
///
/// # Errors
/// Fails if the files cannot be written.
pub fn server_flags(folder: &Path) -> anyhow::Result<[String; 2]> {
    let trusted = trusted()?;
    let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
    fs::write(&chain, &trusted.chain)?;
    fs::write(&key, &trusted.key)?;
    Ok([
        format!("--tls-cert={}", chain.display()),
        format!("--tls-key={}", key.display()),
    ])
}

/// The client's side of TLS to such a server.
///
/// # Errors
/// Fails if no certificate can be made.
pub fn client() -> anyhow::Result<(Arc<ClientConfig>, ServerName<'static>)> {
    Ok((Arc::clone(&trusted()?.client), ServerName::try_from(NAME)?))
}
