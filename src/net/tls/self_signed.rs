//! A certificate that the server makes for itself, once.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};

use super::{
    certificate::{Certificate, CurrentCertificate},
    files::read_small,
};

/// The file of the certificate and its key.
const FILE: &str = "tls-self-signed.pem";

/// Returns the server's own certificate, which is in this folder. Makes it if
/// the folder holds none. Without a folder it is in memory only.
///
/// # Errors
/// Fails if the file cannot be read or written, or holds no certificate.
pub fn self_signed(folder: Option<&Path>, hostname: &str) -> io::Result<Arc<CurrentCertificate>> {
    let Some(folder) = folder else {
        return parse(make(hostname)?.as_bytes());
    };
    let path = folder.join(FILE);
    let named = |why: io::Error| io::Error::new(why.kind(), format!("{}: {why}", path.display()));
    match read_small(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = make(hostname)?;
            write_private(&path, made.as_bytes()).map_err(named)?;
            parse(made.as_bytes())
        }
        read => read.and_then(|pem| parse(&pem)).map_err(named),
    }
}

fn parse(pem: &[u8]) -> io::Result<Arc<CurrentCertificate>> {
    let certificate = Certificate::from_pem(pem, pem).map_err(io::Error::other)?;
    Ok(CurrentCertificate::new(certificate))
}

/// Makes a certificate and its key, in PEM.
fn make(hostname: &str) -> io::Result<String> {
    let local = format!("{hostname}.local");
    let mut names = vec!["localhost".to_owned()];
    names.extend([hostname.to_owned(), local]);
    let key = KeyPair::generate().map_err(io::Error::other)?;
    // A name that is no DNS name is left out.
    let mut params = CertificateParams::new(names)
        .or_else(|_| CertificateParams::new(vec!["localhost".to_owned()]))
        .map_err(io::Error::other)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "chat");
    // Clients compare its digest, so it needs no end.
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    let certificate = params.self_signed(&key).map_err(io::Error::other)?;
    Ok(certificate.pem() + &key.serialize_pem())
}

/// Writes a file that only this user can read, whole or not at all.
///
/// # Errors
/// Fails if the folder cannot be written.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft: PathBuf = path.with_extension("new");
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
