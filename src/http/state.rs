//! The state shared by all requests.

use std::sync::Arc;

use http::StatusCode;

use super::{base_path::BasePath, help::Help, origin::Trust};
use crate::{hub::Hub, net::tls::Tls, session::CurrentOptions};

/// The hub and the rules that requests are answered from.
#[derive(Debug)]
pub struct HttpState {
    /// The hub.
    pub hub: Hub,
    /// Which hosts and origins are trusted.
    pub trust: Trust,
    /// The options of conversations, with the limits on messages.
    pub session: Arc<CurrentOptions>,
    /// How the requests come.
    pub scheme: Scheme,
    /// The TLS of this server, at whatever entrance it is.
    pub tls: Option<Tls>,
    /// The path that all URLs begin with.
    pub(super) base_path: BasePath,
    pub(super) help: Help,
}

/// How requests come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS of the server's own.
    #[default]
    Http,
    /// Through the server's own TLS.
    Https {
        /// Whether browsers are told to use TLS only from then on (HSTS, RFC
        /// 6797).
        only: bool,
    },
    /// Without TLS, and every client is sent to https.
    ToHttps {
        /// The port to send them to.
        port: u16,
    },
}

impl HttpState {
    /// The state of a server whose URLs begin with this path.
    pub fn new(hub: Hub, trust: Trust, session: Arc<CurrentOptions>, base_path: BasePath) -> Self {
        HttpState {
            hub,
            trust,
            session,
            scheme: Scheme::default(),
            tls: None,
            help: Help::new(&base_path),
            base_path,
        }
    }

    /// Formats a complete HTTP response, for connections on which no request
    /// was read.
    pub fn plain_response(&self, status: StatusCode, sentence: &str) -> String {
        self.hub.metrics().answered(status.as_u16());
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{sentence}\n",
            sentence.len() + 1
        )
    }
}
