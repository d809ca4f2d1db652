//! A certificate and its key in two files, which another program renews.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ring::digest::{self, Digest};
use tokio::{sync::watch, task::spawn_blocking, time::interval};
use tracing::{info, warn};

use super::certificate::{Certificate, CertificateError, CurrentCertificate};

/// How often the files are read to see whether they changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The files of a certificate chain and its key, both in PEM.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    chain: PathBuf,
    key: PathBuf,
}

/// Why the files hold no certificate that can be used.
#[derive(Debug)]
pub struct FileError {
    path: PathBuf,
    why: CertificateError,
}

/// What both files held when they were read.
struct Contents {
    chain: Vec<u8>,
    key: Vec<u8>,
}

impl CertificateFiles {
    /// The files of a chain and its key.
    pub fn new(chain: PathBuf, key: PathBuf) -> Self {
        CertificateFiles { chain, key }
    }

    /// Reads the certificate to start with.
    ///
    /// # Errors
    /// Fails if a file cannot be read, or if the two hold no certificate with
    /// its key.
    pub fn load(&self) -> Result<Arc<CurrentCertificate>, FileError> {
        let certificate = self.parse(&self.read()?)?;
        Ok(CurrentCertificate::new(certificate))
    }

    /// Keeps the certificate up to date: reads the files every 60 s, and
    /// whenever others or the same are sent. Runs for ever.
    ///
    /// Files that cannot be used are named in the log output once. The
    /// certificate before them stays in use. The log also tells when it expires
    /// soon.
    pub async fn follow(current: Arc<CurrentCertificate>, mut sent: watch::Receiver<Self>) {
        let mut looks = interval(LOOK_INTERVAL);
        let mut warned = None;
        // The files as they were read last. Their keys do not stay in memory.
        let mut seen: Option<Result<Digest, String>> = None;
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                Ok(()) = sent.changed() => seen = None,
            }
            let files = sent.borrow_and_update().clone();
            let chain = files.chain.clone();
            let (into, before) = (Arc::clone(&current), seen.take());
            let looked = spawn_blocking(move || files.look(&into, before)).await;
            seen = looked.ok();
            let warning = current.warning();
            if let Some(warning) = warning
                && warned != Some(warning)
            {
                warn!("the certificate of {} {warning}", chain.display());
            }
            warned = warning;
        }
    }

    /// Reads the files, and uses them if they changed. Returns what they hold, or
    /// why they cannot be read.
    fn look(
        &self,
        current: &CurrentCertificate,
        seen: Option<Result<Digest, String>>,
    ) -> Result<Digest, String> {
        let contents = match self.read() {
            Ok(contents) => contents,
            Err(why) => {
                let why = why.to_string();
                // A program that renews the files may just be replacing them.
                if seen.is_none_or(|seen| seen.err().as_ref() != Some(&why)) {
                    warn!("the certificate in use stays: {why}");
                }
                return Err(why);
            }
        };
        let digest = contents.digest();
        if let Some(Ok(seen)) = &seen
            && seen.as_ref() == digest.as_ref()
        {
            return Ok(digest);
        }
        let replaced = self.parse(&contents).and_then(|certificate| {
            let replaced = current.replace(certificate);
            replaced.map_err(|why| self.error(why))
        });
        match replaced {
            Ok(false) => {}
            Ok(true) => info!(
                "the certificate of {} is in use from now on: SHA-256 {}",
                self.chain.display(),
                current.fingerprint()
            ),
            Err(why) => warn!("the certificate in use stays: {why}"),
        }
        Ok(digest)
    }

    fn read(&self) -> Result<Contents, FileError> {
        let read = |path: &Path| {
            read_small(path).map_err(|why| FileError {
                path: path.to_owned(),
                why: CertificateError::Unreadable(why),
            })
        };
        Ok(Contents {
            chain: read(&self.chain)?,
            key: read(&self.key)?,
        })
    }

    fn parse(&self, contents: &Contents) -> Result<Certificate, FileError> {
        let parsed = Certificate::from_pem(&contents.chain, &contents.key);
        parsed.map_err(|why| self.error(why))
    }

    /// Names the file that an error is about.
    fn error(&self, why: CertificateError) -> FileError {
        let path = match why {
            CertificateError::NoKey | CertificateError::Unusable(_) => &self.key,
            _ => &self.chain,
        };
        FileError {
            path: path.clone(),
            why,
        }
    }
}

impl Contents {
    fn digest(&self) -> Digest {
        let mut digest = digest::Context::new(&digest::SHA256);
        digest.update(&self.chain);
        // The lengths keep the border between the two files.
        digest.update(&self.chain.len().to_le_bytes());
        digest.update(&self.key);
        digest.finish()
    }
}

/// Reads a file of at most 1 MiB.
///
/// # Errors
/// Fails if it cannot be read or is longer.
pub fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path)?;
    io::Read::read_to_end(&mut io::Read::take(file, MAX_BYTES + 1), &mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is longer than 1 MiB"));
    }
    Ok(bytes)
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}

impl std::error::Error for FileError {}
