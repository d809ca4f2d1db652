//! `server healthcheck`: asks a server whether it is healthy, for images
//! without a shell.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use http::Uri;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::ring::default_provider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// How long each step may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// The path of the answer, behind that of the chat.
const HEALTH: &str = "/-/health";

/// The begin of a healthy answer.
const HEALTHY: &[u8] = b"HTTP/1.1 200";

/// Asks the server at a URL. The exit code is 0 if it is healthy, else 1.
pub(crate) fn run(url: &str) -> ExitCode {
    let why = match ask(url) {
        Ok(answer) if answer == HEALTHY => return ExitCode::SUCCESS,
        Ok(answer) => format!("it answers {:?}", String::from_utf8_lossy(&answer)),
        Err(why) => why.to_string(),
    };
    // If standard error is gone, the exit code still tells.
    let _ = writeln!(io::stderr(), "server: {url}: {why}");
    ExitCode::FAILURE
}

/// The begin of the answer.
fn ask(url: &str) -> io::Result<Vec<u8>> {
    let wrong = || io::Error::other("give a URL like http://127.0.0.1:2000/");
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let is_tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(wrong()),
    };
    let authority = uri.authority().ok_or_else(wrong)?;
    let host = authority.host().trim_matches(['[', ']']);
    let port = authority
        .port_u16()
        .unwrap_or(if is_tls { 443 } else { 80 });
    let mut failed = wrong();
    let stream = (host, port).to_socket_addrs()?.find_map(|address| {
        let connected = TcpStream::connect_timeout(&address, DEADLINE);
        connected.map_err(|why| failed = why).ok()
    });
    let stream = stream.ok_or(failed)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    let path = uri.path().trim_end_matches('/').trim_end_matches(HEALTH);
    let request = format!("GET {path}{HEALTH} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    if is_tls {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::new(config()?), name);
        let connection = connection.map_err(io::Error::other)?;
        answer(StreamOwned::new(connection, stream), &request)
    } else {
        answer(stream, &request)
    }
}

fn answer(mut stream: impl Read + Write, request: &str) -> io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes())?;
    let mut answer = vec![0; HEALTHY.len()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

fn config() -> io::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.map_err(io::Error::other)?.dangerous();
    let builder = builder.with_custom_certificate_verifier(Arc::new(AnyCertificate));
    Ok(builder.with_no_client_auth())
}

/// Accepts every certificate: the question is whether the server answers. The
/// request holds no secret.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = default_provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
