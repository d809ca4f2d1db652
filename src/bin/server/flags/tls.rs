//! The flags of TLS, and where the certificate comes from.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use broadcast_chat::net::tls::{
    AcmeOptions, CertificateFiles, CurrentCertificate, LETS_ENCRYPT, read_small,
};
use clap::{Args, builder::BoolishValueParser};

use super::mistakes::Mistakes;

/// TLS on the port.
#[derive(Debug, Args)]
pub(crate) struct TlsFlags {
    /// Speak TLS with the certificate in this PEM file, which also holds those up to its authority
    ///
    /// The server reads both files again on SIGHUP, and when they change.
    #[arg(long, env = "CHAT_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// The PEM file with the certificate's private key
    #[arg(long, env = "CHAT_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// Speak TLS with a certificate that the server makes once and keeps in its folder
    ///
    /// It prints what a client types to trust the certificate.
    #[arg(long, env = "CHAT_TLS_SELF_SIGNED", value_parser = BoolishValueParser::new())]
    tls_self_signed: bool,

    /// Speak TLS with a certificate for this domain, ordered from Let's Encrypt and renewed in time
    /// (repeatable)
    ///
    /// The authority connects to port 443 of the domain. The certificate is kept in the folder.
    #[arg(long, env = "CHAT_ACME", value_name = "DOMAIN", value_delimiter = ',', value_parser = AcmeOptions::domain)]
    acme: Vec<String>,

    /// A mail address for warnings from the authority (repeatable)
    #[arg(
        long,
        env = "CHAT_ACME_CONTACT",
        value_name = "MAIL",
        value_delimiter = ','
    )]
    acme_contact: Vec<String>,

    /// The ACME directory of another authority [default: that of Let's Encrypt]
    #[arg(long, env = "CHAT_ACME_DIRECTORY", value_name = "URL")]
    acme_directory: Option<String>,

    /// A PEM file with the roots that the directory's own certificate leads to [default: the public
    /// ones]
    #[arg(long, env = "CHAT_ACME_CA", value_name = "FILE")]
    acme_ca: Option<PathBuf>,

    /// Also listen on this address, like 0.0.0.0:80, and send every request there to the https URL
    #[arg(long, env = "CHAT_REDIRECT_HTTP", value_name = "ADDRESS:PORT")]
    redirect_http: Option<SocketAddr>,
}

/// Where the certificate comes from.
#[derive(Debug)]
pub(crate) enum CertificateSource {
    /// Two files, and the certificate in them.
    Files(CertificateFiles, Arc<CurrentCertificate>),
    /// The server itself.
    SelfSigned,
    /// An authority.
    Acme(AcmeOptions),
}

/// The checked flags of TLS.
#[derive(Debug)]
pub(crate) struct CheckedTls {
    /// Where the certificate comes from.
    pub(crate) source: CertificateSource,
    /// The address whose requests are sent to https.
    pub(crate) redirect: Option<SocketAddr>,
}

impl TlsFlags {
    /// Whether the port speaks TLS.
    pub(super) fn is_on(&self) -> bool {
        self.tls_cert.is_some() || self.tls_self_signed || !self.acme.is_empty()
    }

    /// The domains of the certificate, by which the server also goes.
    pub(super) fn domains(&self) -> &[String] {
        &self.acme
    }

    /// Checks the flags; `None` if the port speaks no TLS, or cannot.
    pub(super) fn check(self, ephemeral: bool, mistakes: &mut Mistakes) -> Option<CheckedTls> {
        let has_acme = !self.acme.is_empty();
        for (flag, given, needed, there) in [
            (
                "--tls-cert",
                self.tls_cert.is_some(),
                "--tls-key",
                self.tls_key.is_some(),
            ),
            (
                "--tls-key",
                self.tls_key.is_some(),
                "--tls-cert",
                self.tls_cert.is_some(),
            ),
            (
                "--acme-contact",
                !self.acme_contact.is_empty(),
                "--acme",
                has_acme,
            ),
            (
                "--acme-directory",
                self.acme_directory.is_some(),
                "--acme",
                has_acme,
            ),
            ("--acme-ca", self.acme_ca.is_some(), "--acme", has_acme),
            (
                "--redirect-http",
                self.redirect_http.is_some(),
                "TLS: --tls-cert, --tls-self-signed or --acme",
                self.is_on(),
            ),
        ] {
            if given && !there {
                mistakes.add(flag, &format_args!("needs {needed}"));
            }
        }
        let ways = [
            ("--tls-cert", self.tls_cert.is_some()),
            ("--tls-self-signed", self.tls_self_signed),
            ("--acme", has_acme),
        ];
        let mut ways = ways.iter().filter(|(_, given)| *given);
        if let (Some((one, _)), Some((other, _))) = (ways.next(), ways.next()) {
            mistakes.add(other, &format_args!("contradicts {one}: give one of them"));
            return None;
        }
        let source = match (self.tls_cert, self.tls_key) {
            (Some(chain), Some(key)) => {
                let files = CertificateFiles::new(chain, key);
                let current = mistakes.take("--tls-cert", files.load())?;
                CertificateSource::Files(files, current)
            }
            _ if self.tls_self_signed => CertificateSource::SelfSigned,
            _ if !has_acme => return None,
            _ => {
                if ephemeral {
                    let why = "contradicts --ephemeral: each start would order another certificate";
                    mistakes.add("--acme", &why);
                }
                let roots = self.acme_ca.map(|path| {
                    let pem = read_small(&path).map_err(|why| why.to_string());
                    let roots = pem.and_then(|pem| AcmeOptions::roots(&pem));
                    roots.map_err(|why| format!("{}: {why}", path.display()))
                });
                CertificateSource::Acme(AcmeOptions {
                    domains: self.acme,
                    contacts: self.acme_contact,
                    directory: self.acme_directory.unwrap_or(LETS_ENCRYPT.to_owned()),
                    roots: mistakes.take("--acme-ca", roots.transpose())?,
                })
            }
        };
        Some(CheckedTls {
            source,
            redirect: self.redirect_http,
        })
    }
}
