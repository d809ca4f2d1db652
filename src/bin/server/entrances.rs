//! The entrances of the server: its listeners, with the TLS that their
//! connections speak.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use broadcast_chat::{
    http::Scheme,
    net::{
        Listener,
        tls::{CertificateFiles, Tls, self_signed},
    },
    protocol::Fingerprint,
    server::Entrance,
};
use rustls::server::ResolvesServerCert;
use tokio::sync::watch;

use super::{
    flags::tls::{CertificateSource, CheckedTls},
    listeners::bind,
};

/// The entrances of a server.
pub(crate) struct Entrances {
    pub(crate) all: Vec<Entrance>,
    /// The certificate, if clients can trust it only by its fingerprint.
    pub(crate) pin: Option<Fingerprint>,
    /// Takes the files that the server reads the certificate from again.
    pub(crate) certificate: Option<watch::Sender<CertificateFiles>>,
}

/// Makes entrances of listeners. With TLS, the TCP listeners speak it, and a
/// further listener may send clients to them. `folder` is that of the store,
/// `hostname` the name of this machine.
///
/// # Errors
/// Fails if there is no certificate that can be used, or no further listener.
pub(crate) fn open(
    listeners: Vec<Listener>,
    tls: Option<CheckedTls>,
    folder: Option<&Path>,
    hostname: &str,
) -> anyhow::Result<Entrances> {
    let mut entrances = Entrances {
        all: listeners.into_iter().map(Entrance::from).collect(),
        pin: None,
        certificate: None,
    };
    let Some(CheckedTls { source, redirect }) = tls else {
        return Ok(entrances);
    };
    let resolver = entrances.resolver(source, folder, hostname)?;
    let tls = Tls::new(resolver)?;
    let only = entrances.pin.is_none();
    let mut port = None;
    for entrance in &mut entrances.all {
        if let Some(address) = entrance.listener.address() {
            entrance.tls = Some(tls.clone());
            entrance.scheme = Scheme::Https { only };
            port = port.or(Some(address.port()));
        }
    }
    if let Some(address) = redirect {
        let port = port.context("--redirect-http needs a TCP listener to send clients to")?;
        entrances.all.push(Entrance {
            scheme: Scheme::ToHttps { port },
            ..Listener::Tcp(bind(address, "--redirect-http")?).into()
        });
    }
    Ok(entrances)
}

impl Entrances {
    /// Takes the certificate from its source, and keeps it up to date from then
    /// on.
    fn resolver(
        &mut self,
        source: CertificateSource,
        folder: Option<&Path>,
        hostname: &str,
    ) -> anyhow::Result<Arc<dyn ResolvesServerCert>> {
        Ok(match source {
            CertificateSource::Files(files, current) => {
                let (sender, sent) = watch::channel(files);
                keep(CertificateFiles::follow(Arc::clone(&current), sent));
                self.certificate = Some(sender);
                current
            }
            CertificateSource::SelfSigned => {
                let own = self_signed(folder, hostname).context("--tls-self-signed")?;
                self.pin = Some(own.fingerprint());
                own
            }
            CertificateSource::Acme(options) => {
                let folder = folder.context("--acme needs --data")?;
                let orders = options.start(folder).context("--acme")?;
                let resolver = orders.resolver();
                keep(orders.run());
                resolver
            }
        })
    }
}

/// Runs a task that ends with the process.
pub(crate) fn keep(task: impl Future<Output = ()> + Send + 'static) {
    // It may outlive the server.
    #[allow(clippy::disallowed_methods)]
    tokio::spawn(task);
}
