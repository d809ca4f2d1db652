//! Certificates from an authority, ordered and renewed over ACME (RFC 8555).

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::StreamExt;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, DnsName, pem::PemObject},
    server::ResolvesServerCert,
};
use rustls_acme::{AcmeConfig, EventOk, caches::DirCache};
use tracing::{debug, info, warn};

/// The folder of the account and the certificates, in that of the store.
const FOLDER: &str = "acme";

/// The directory of Let's Encrypt.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The certificates to order.
#[derive(Clone, Debug)]
pub struct AcmeOptions {
    /// The domains of the one certificate.
    pub domains: Vec<String>,
    /// The mail addresses that the authority may write to.
    pub contacts: Vec<String>,
    /// The URL of the authority's directory.
    pub directory: String,
    /// The roots that the directory's own certificate leads to. `None` means
    /// the public ones.
    pub roots: Option<Arc<RootCertStore>>,
}

/// The certificates of one order after the other.
pub struct AcmeOrders {
    state: rustls_acme::AcmeState<io::Error>,
    directory: String,
}

impl AcmeOptions {
    /// Checks a domain, and writes it in small letters.
    ///
    /// # Errors
    /// Fails if it is no DNS name, as an address and a wildcard are not.
    pub fn domain(text: &str) -> Result<String, String> {
        let domain = text.to_ascii_lowercase();
        let is_address = domain.parse::<std::net::IpAddr>().is_ok();
        if is_address || !domain.contains('.') || DnsName::try_from(domain.as_str()).is_err() {
            return Err("give a domain name, like chat.example.org".to_owned());
        }
        Ok(domain)
    }

    /// Reads the roots for the directory from a PEM text.
    ///
    /// # Errors
    /// Fails if the text holds none, or a malformed one.
    pub fn roots(pem: &[u8]) -> Result<Arc<RootCertStore>, String> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|why| why.to_string())?;
            roots.add(certificate).map_err(|why| why.to_string())?;
        }
        if roots.is_empty() {
            return Err("it holds no certificate in PEM".to_owned());
        }
        Ok(Arc::new(roots))
    }

    /// Prepares the orders; account and certificates are kept below `folder`.
    ///
    /// # Errors
    /// Fails if the folder cannot be made, or the cryptography offers no TLS.
    pub fn start(&self, folder: &Path) -> io::Result<AcmeOrders> {
        let cache: PathBuf = folder.join(FOLDER);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&cache)
            .map_err(|why| io::Error::new(why.kind(), format!("{}: {why}", cache.display())))?;
        let provider = Arc::new(default_provider());
        let mut config =
            AcmeConfig::new_with_provider(self.domains.iter().cloned(), Arc::clone(&provider));
        if let Some(roots) = &self.roots {
            let client = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(io::Error::other)?
                .with_root_certificates(Arc::clone(roots))
                .with_no_client_auth();
            config = config.client_tls_config(Arc::new(client));
        }
        let contacts = self.contacts.iter().map(|mail| format!("mailto:{mail}"));
        let config = config
            .contact(contacts)
            .directory(&self.directory)
            .cache(DirCache::new(cache));
        Ok(AcmeOrders {
            state: config.state(),
            directory: self.directory.clone(),
        })
    }
}

impl AcmeOrders {
    /// Chooses the certificate of a new connection: the last one ordered, or
    /// the proof that the authority asks for.
    pub fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        self.state.resolver()
    }

    /// Orders a certificate, and a new one after two thirds of its life. Runs
    /// for ever.
    pub async fn run(mut self) {
        while let Some(event) = self.state.next().await {
            match event {
                Ok(EventOk::DeployedNewCert) => {
                    info!("a new certificate of {} is in use", self.directory);
                }
                Ok(event) => debug!("ACME: {event:?}"),
                Err(why) => warn!(
                    "{} gave no certificate; another attempt follows: {why}",
                    self.directory
                ),
            }
        }
    }
}

impl std::fmt::Debug for AcmeOrders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AcmeOrders").finish_non_exhaustive()
    }
}
