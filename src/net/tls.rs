//! TLS on the server's port: the handshake, and the certificate that it shows.

mod acme;
mod certificate;
mod files;
mod halves;
mod self_signed;
mod watched;

use std::{fmt, io, sync::Arc, time::Duration};

use rustls::{ServerConfig, ServerConnection, server::ResolvesServerCert};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use self::watched::{ACME_TLS, Watched};
pub use self::{
    acme::{AcmeOptions, AcmeOrders, LETS_ENCRYPT},
    certificate::{CertificateError, CurrentCertificate},
    files::{CertificateFiles, FileError, read_small},
    halves::{TlsReadHalf, TlsWriteHalf, split},
    self_signed::self_signed,
};

/// How long the handshake may take.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// The most bytes that a session holds for a full socket: those of one record
/// (RFC 8446 §5.1). Behind them it takes nothing.
const MAX_RECORD: usize = 16 << 10;

/// The content type of a record with a handshake (RFC 8446 §5.1). A connection
/// that speaks TLS begins with it, and no HTTP request does.
const HANDSHAKE: u8 = 22;

/// The protocol that is spoken inside TLS (RFC 7301).
const HTTP_1_1: &[u8] = b"http/1.1";

/// The server's side of TLS handshakes.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    watched: Arc<Watched>,
}

/// Why a connection did not become a TLS connection.
#[derive(Debug)]
pub enum HandshakeError {
    /// The peer speaks something else, probably HTTP.
    NotTls(TcpStream),
    /// The peer did not finish in time.
    Late,
    /// The peer was an authority, which has now seen its proof.
    DomainChecked,
    /// The connection broke, or the two sides found no common ground.
    Failed(io::Error),
}

impl Tls {
    /// TLS 1.2 and 1.3, with the certificate that the resolver chooses. It is
    /// also asked for proofs that a domain is this server's (RFC 8737).
    ///
    /// # Errors
    /// Fails if the cryptography offers neither version.
    pub fn new(certificates: Arc<dyn ResolvesServerCert>) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let watched = Arc::new(Watched::new(certificates));
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&watched) as _;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        // Scanners ask for an order of the server's own. All of these ciphers are
        // strong.
        config.ignore_client_order = true;
        config.alpn_protocols = vec![HTTP_1_1.to_vec(), ACME_TLS.to_vec()];
        Ok(Tls {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            watched,
        })
    }

    /// When the certificate that was shown last expires, in seconds since 1970;
    /// `None` if none was shown yet.
    pub fn certificate_expiry(&self) -> Option<i64> {
        self.watched.expiry()
    }

    /// Does the handshake of a new connection.
    ///
    /// # Errors
    /// Fails if the peer speaks no TLS, offers no version or cipher of this
    /// server, or takes longer than 10 s.
    pub async fn accept(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, HandshakeError> {
        let accepted = async {
            let mut first = [0];
            let seen = stream.peek(&mut first).await;
            if seen.map_err(HandshakeError::Failed)? > 0 && first[0] != HANDSHAKE {
                return Err(HandshakeError::NotTls(stream));
            }
            let bounded = |session: &mut ServerConnection| {
                session.set_buffer_limit(Some(MAX_RECORD));
            };
            let accepted = self.acceptor.accept_with(stream, bounded).await;
            let stream = accepted.map_err(HandshakeError::Failed)?;
            if stream.get_ref().1.alpn_protocol() == Some(ACME_TLS) {
                return Err(HandshakeError::DomainChecked);
            }
            Ok(stream)
        };
        let accepted = timeout(HANDSHAKE_DEADLINE, accepted).await;
        accepted.unwrap_or(Err(HandshakeError::Late))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::NotTls(_) => f.write_str("the peer speaks no TLS"),
            HandshakeError::Late => f.write_str("the TLS handshake took too long"),
            HandshakeError::DomainChecked => f.write_str("an authority checked a domain"),
            HandshakeError::Failed(why) => write!(f, "the TLS handshake failed: {why}"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
