//! Which certificate of a server the client trusts.

use std::{io, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WantsClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        WebPkiSupportedAlgorithms, ring::default_provider, verify_tls12_signature,
        verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

use crate::protocol::Fingerprint;

/// Which certificate of a server the client trusts.
#[derive(Clone, Debug, Default)]
pub enum ServerTrust {
    /// One that an authority of this machine signed for the server's name.
    #[default]
    System,
    /// One that one of these authorities signed for the server's name.
    Authorities(Arc<RootCertStore>),
    /// Exactly this one, whatever it says.
    Pinned(Fingerprint),
}

impl ServerTrust {
    /// Trusts the authorities in a PEM text.
    ///
    /// # Errors
    /// Fails if the text holds none, or a malformed one.
    pub fn authorities(pem: &[u8]) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|why| format!("it is no PEM: {why}"))?;
            let added = roots.add(certificate);
            added.map_err(|why| format!("it holds a certificate that is no authority: {why}"))?;
        }
        if roots.is_empty() {
            return Err("it holds no certificate in PEM".to_owned());
        }
        Ok(ServerTrust::Authorities(Arc::new(roots)))
    }

    /// Whether a flag chose it. Then the client speaks TLS only.
    pub(super) fn is_chosen(&self) -> bool {
        !matches!(self, ServerTrust::System)
    }
}

/// The configuration of TLS for a chosen trust.
///
/// # Errors
/// Fails if the cryptography offers no version of TLS.
pub(super) fn tls_config(trust: &ServerTrust) -> Result<Option<ClientConfig>, Error> {
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder: rustls::ConfigBuilder<ClientConfig, WantsClientCert> = match trust {
        ServerTrust::System => return Ok(None),
        ServerTrust::Authorities(roots) => builder.with_root_certificates(Arc::clone(roots)),
        ServerTrust::Pinned(pin) => {
            let verifier = PinVerifier {
                pin: *pin,
                algorithms: provider.signature_verification_algorithms,
            };
            let builder = builder.dangerous();
            builder.with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    Ok(Some(builder.with_no_client_auth()))
}

/// Whether a handshake failed because the certificate leads to no trusted
/// authority.
pub(super) fn is_unknown_issuer(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|why| why.downcast_ref::<Error>());
    matches!(
        cause,
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    )
}

/// Accepts one certificate, and no other.
#[derive(Debug)]
struct PinVerifier {
    pin: Fingerprint,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = Fingerprint::of(certificate);
        if found == self.pin {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::General(format!(
            "its certificate has the SHA-256 {found}, not the one of --tls-pin"
        )))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
