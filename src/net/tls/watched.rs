//! Notes when the certificates that the server shows expire.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::certificate::expiry;

/// The protocol of an authority that checks a domain. It ends with the
/// handshake (RFC 8737 §3).
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";

/// A resolver that notes the certificate of another one that was shown last.
pub(super) struct Watched {
    resolver: Arc<dyn ResolvesServerCert>,
    shown: RwLock<Option<Arc<CertifiedKey>>>,
}

impl Watched {
    pub(super) fn new(resolver: Arc<dyn ResolvesServerCert>) -> Self {
        let shown = RwLock::default();
        Watched { resolver, shown }
    }

    /// When the certificate that was shown last expires, in seconds since 1970.
    pub(super) fn expiry(&self) -> Option<i64> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        expiry(shown.as_ref()?.cert.first()?)
    }
}

impl ResolvesServerCert for Watched {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // The proof of a domain is no certificate for clients.
        let is_proof = hello
            .alpn()
            .is_some_and(|mut protocols| protocols.any(|it| it == ACME_TLS));
        let chosen = self.resolver.resolve(hello)?;
        let is_noted = |noted: &Option<Arc<CertifiedKey>>| {
            noted.as_ref().is_some_and(|it| Arc::ptr_eq(it, &chosen))
        };
        let known = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        let is_new = !is_proof && !is_noted(&known);
        drop(known);
        if is_new {
            let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
            *shown = Some(Arc::clone(&chosen));
        }
        Some(chosen)
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}
