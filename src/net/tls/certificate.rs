//! A certificate with its key, and the one that new connections are shown.

use std::{
    fmt, io,
    ops::RangeInclusive,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::protocol::Fingerprint;

const DAY: i64 = 24 * 60 * 60;

/// The warnings, each with the seconds that a certificate is valid at most then.
const WARNINGS: [(i64, &str); 4] = [
    (0, "has expired"),
    (DAY, "expires within a day"),
    (7 * DAY, "expires within 7 days"),
    (30 * DAY, "expires within 30 days"),
];

/// A certificate is warned of in the last one of these parts of its life. Others
/// renew it when a third is left.
const PARTS: i64 = 4;

/// A certificate with its key, ready to be shown to clients.
#[derive(Debug)]
pub(super) struct Certificate {
    key: Arc<CertifiedKey>,
    /// From when to when it is valid, in seconds since 1970.
    valid: RangeInclusive<i64>,
}

/// Why a certificate cannot be used.
#[derive(Debug)]
pub enum CertificateError {
    /// A file cannot be read.
    Unreadable(io::Error),
    /// The file of the certificate holds none.
    NoCertificate,
    /// The file of the key holds none.
    NoKey,
    /// The two do not belong together, or one of them is malformed.
    Unusable(rustls::Error),
    /// The certificate is malformed.
    Malformed,
    /// It is not valid now, and the one in use is.
    NotValidNow,
}

impl Certificate {
    /// Reads a certificate chain and its key from their PEM texts.
    ///
    /// # Errors
    /// Fails if one of them is missing or malformed, or if they do not belong
    /// together.
    pub(super) fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.map_err(|_| CertificateError::NoCertificate)?;
        let first = chain.first().ok_or(CertificateError::NoCertificate)?;
        let valid = validity(first)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::NoKey)?;
        let key = CertifiedKey::from_der(chain, key, &default_provider())
            .map_err(CertificateError::Unusable)?;
        Ok(Certificate {
            key: Arc::new(key),
            valid,
        })
    }

    /// Whether it is valid by the wall clock.
    pub(super) fn is_valid_now(&self) -> bool {
        self.valid.contains(&jiff::Timestamp::now().as_second())
    }

    /// The warning at a time, in seconds since 1970, if it expires soon.
    fn warning(&self, now: i64) -> Option<&'static str> {
        let (from, until) = (*self.valid.start(), *self.valid.end());
        if now < from {
            return Some("is not valid yet");
        }
        let left = until.saturating_sub(now);
        let is_late = left.saturating_mul(PARTS) <= until.saturating_sub(from);
        let warning = WARNINGS.into_iter().find(|(within, _)| left <= *within);
        warning.filter(|_| is_late).map(|(_, said)| said)
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.key.cert.first().map_or(&[], |first| first))
    }
}

/// When a certificate expires, in seconds since 1970; `None` if it is
/// malformed.
pub(super) fn expiry(certificate: &CertificateDer<'_>) -> Option<i64> {
    validity(certificate).ok().map(|valid| *valid.end())
}

fn validity(certificate: &CertificateDer<'_>) -> Result<RangeInclusive<i64>, CertificateError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| CertificateError::Malformed)?;
    let valid = parsed.validity();
    Ok(valid.not_before.timestamp()..=valid.not_after.timestamp())
}

/// The certificate that new connections are shown. Connections that are open
/// keep theirs.
#[derive(Debug)]
pub struct CurrentCertificate(RwLock<Certificate>);

impl CurrentCertificate {
    pub(super) fn new(first: Certificate) -> Arc<Self> {
        Arc::new(CurrentCertificate(RwLock::new(first)))
    }

    /// The fingerprint of the certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        current.fingerprint()
    }

    /// The warning that the certificate deserves now, if it expires soon.
    pub(super) fn warning(&self) -> Option<&'static str> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        current.warning(jiff::Timestamp::now().as_second())
    }

    /// Shows another certificate from now on; false if it is the same.
    ///
    /// # Errors
    /// Fails if it is not valid now and the one in use is. Then that one stays.
    pub(super) fn replace(&self, next: Certificate) -> Result<bool, CertificateError> {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if current.key.cert == next.key.cert {
            return Ok(false);
        }
        if current.is_valid_now() && !next.is_valid_now() {
            return Err(CertificateError::NotValidNow);
        }
        *current = next;
        Ok(true)
    }
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current.key))
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertificateError::Unreadable(why) => write!(f, "it cannot be read: {why}"),
            CertificateError::NoCertificate => f.write_str("it holds no certificate in PEM"),
            CertificateError::NoKey => f.write_str("it holds no private key in PEM"),
            CertificateError::Unusable(rustls::Error::InconsistentKeys(_)) => {
                f.write_str("the key does not belong to the certificate")
            }
            CertificateError::Unusable(why) => write!(f, "{why}"),
            CertificateError::Malformed => f.write_str("the certificate is malformed"),
            CertificateError::NotValidNow => {
                f.write_str("the certificate is not valid at this time")
            }
        }
    }
}

impl std::error::Error for CertificateError {}
