//! Reads the configuration again while the server runs.

use broadcast_chat::{net::tls::CertificateFiles, server::Control};
use tokio::{runtime::Handle, sync::watch};
use tracing::{error, info, warn};

use super::{
    console::Levels,
    flags::{
        live::LIVE,
        sources::RawValues,
        task::{self, CheckedFlags},
        tls::{CertificateSource, CheckedTls},
    },
    service,
};

/// The parts of a running server that another configuration changes.
pub(crate) struct Reload {
    /// Whether its listeners are on a network.
    pub(crate) on_a_network: bool,
    /// The values of the flags at the start.
    pub(crate) started_with: RawValues,
    pub(crate) control: Control,
    /// The runtime of the server.
    pub(crate) runtime: Handle,
    pub(crate) levels: Levels,
    /// Takes the files that the server reads its certificate from again.
    pub(crate) certificate: Option<watch::Sender<CertificateFiles>>,
}

impl Reload {
    /// Reads the configuration again, and applies it unless it has a mistake.
    /// The log tells either.
    pub(crate) fn run(&self) {
        service::reloading();
        match task::read_again(self.on_a_network) {
            Ok(checked) => self.apply(checked),
            Err(mistakes) => {
                for why in mistakes {
                    error!("the configuration in use stays: {why}");
                }
            }
        }
        service::ready();
    }

    fn apply(&self, checked: CheckedFlags) {
        // This thread is none of the runtime's.
        if let Err(why) = self.runtime.block_on(self.control.apply(&checked.options)) {
            error!("--edit-window stays as it is: {}", why.text);
        }
        self.levels.set(&checked);
        let source = checked.tls.map(|CheckedTls { source, .. }| source);
        let follows = match (&self.certificate, source) {
            (Some(certificate), Some(CertificateSource::Files(files, _))) => {
                certificate.send(files).is_ok()
            }
            _ => false,
        };
        let restart = restart_flags(&self.started_with, &checked.raw, follows);
        if !restart.is_empty() {
            warn!("new values of these flags need a restart: {restart}");
        }
        info!("the configuration was read again");
    }
}

/// The flags whose new values need a restart, with commas. With `follows`, the
/// server takes its certificate from other files without one.
fn restart_flags(before: &RawValues, now: &RawValues, follows: bool) -> String {
    let all: std::collections::BTreeSet<_> = before.keys().chain(now.keys()).collect();
    let changed = all.into_iter().filter(|flag| {
        let is_live = LIVE.iter().any(|(live, _)| live == flag);
        let is_live = is_live && (follows || !flag.starts_with("tls-"));
        !is_live && before.get(*flag) != now.get(*flag)
    });
    let changed: Vec<_> = changed.map(|flag| format!("--{flag}")).collect();
    changed.join(", ")
}
