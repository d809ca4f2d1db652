//! Tells the service manager, systemd, how the server is (`sd_notify(3)`).

use broadcast_chat::server::Control;
use sd_notify::{NotifyState, notify, watchdog_enabled};
use tokio::time::interval;

/// The watchdog is fed this often within its limit, so that one late turn does
/// not end the server.
const FEEDS: u32 = 3;

/// The server can be reached.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// The server reads its configuration again, until it is ready.
pub(crate) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// The server drains.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Feeds the watchdog, if there is one, while the server stores what it is
/// asked to store. Never returns then.
pub(crate) async fn feed_watchdog(control: Control) {
    let Some(limit) = watchdog_enabled() else {
        return;
    };
    let mut turns = interval(limit / FEEDS);
    loop {
        turns.tick().await;
        let status = format!("serving {} connections", control.connections());
        if control.stores() {
            tell(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
        } else {
            tell(&[NotifyState::Status("messages cannot be stored")]);
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    // Without a service manager nothing is sent. One that is gone needs nothing.
    let _ = notify(state);
}
