//! Finds out whether a request was forwarded by a proxy.

use std::sync::Once;

use http::HeaderMap;
use tracing::warn;

/// The headers by which proxies name the visitor.
const HEADERS: [&str; 3] = ["Forwarded", "X-Forwarded-For", "X-Real-IP"];

/// Whether a request says that it was forwarded. Warns of the first one.
///
/// No peer is believed, so its visitors cannot be told apart.
pub(super) fn is_forwarded(headers: &HeaderMap) -> bool {
    static WARNED: Once = Once::new();
    let Some(found) = HEADERS.iter().find(|name| headers.contains_key(**name)) else {
        return false;
    };
    WARNED.call_once(|| {
        warn!(
            "a proxy forwards requests here (header {found}), and is not believed: all its visitors \
             together have the limits of one address; set --rate and --max-per-address for all of them"
        );
    });
    true
}
