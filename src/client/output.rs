//! Standard output, written on a thread of its own: where it is slow, the
//! reading of the chat slows down with it, and nothing is dropped.

use std::{
    io::{self, Write},
    mem, thread,
};

use tokio::sync::{mpsc, oneshot, watch};

/// What is handed over in one piece under load, in bytes.
const CHUNK: usize = 32 * 1024;

/// How many pieces may wait for the output.
const WAITING: usize = 4;

/// Prints lines.
///
/// They gather here while more keep coming, and are handed over in pieces, so
/// that a burst costs few writes and a single line is shown at once.
#[derive(Debug)]
pub struct Printer {
    gathered: Vec<u8>,
    /// Absent once the output has failed or was closed.
    chunks: Option<mpsc::Sender<Vec<u8>>>,
    /// How many pieces were handed over, and how many are written.
    handed: u64,
    written: watch::Receiver<u64>,
    /// How the writing ended; absent once it was asked for.
    result: Option<oneshot::Receiver<io::Result<()>>>,
}

impl Printer {
    /// Starts the thread that writes.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn start(mut out: impl Write + Send + 'static) -> io::Result<Self> {
        let (chunks, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING);
        let (done, result) = oneshot::channel();
        let (count, written) = watch::channel(0);
        thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || {
                let mut write = || -> io::Result<()> {
                    while let Some(chunk) = waiting.blocking_recv() {
                        out.write_all(&chunk)?;
                        out.flush()?;
                        count.send_modify(|count| *count += 1);
                    }
                    Ok(())
                };
                // Nobody may be waiting any more.
                let _ = done.send(write());
            })?;
        Ok(Printer {
            gathered: Vec::new(),
            chunks: Some(chunks),
            handed: 0,
            written,
            result: Some(result),
        })
    }

    /// Adds a line.
    pub fn put(&mut self, line: &str) {
        self.write(line);
        self.write("\n");
    }

    /// Adds a text as it is.
    pub fn write(&mut self, text: &str) {
        if self.is_open() {
            self.gathered.extend_from_slice(text.as_bytes());
        }
    }

    /// Whether what is put is still printed.
    pub fn is_open(&self) -> bool {
        self.chunks.is_some()
    }

    /// Whether so much is gathered that it must be handed over before more is
    /// put.
    pub fn is_full(&self) -> bool {
        self.gathered.len() >= CHUNK
    }

    /// Hands over what is gathered, once there is room; with nothing gathered,
    /// waits for the output to fail or to be closed. Cancelled, it has done
    /// nothing.
    pub async fn work(&mut self) {
        let Some(chunks) = &self.chunks else { return };
        if self.gathered.is_empty() {
            chunks.closed().await;
        } else if let Ok(place) = chunks.reserve().await {
            place.send(mem::take(&mut self.gathered));
            self.handed += 1;
            return;
        }
        self.shut();
    }

    /// What [`written`](Self::written) waits for: all that was put so far.
    pub fn mark(&self) -> u64 {
        self.handed + u64::from(!self.gathered.is_empty())
    }

    /// Waits until everything up to a mark is written; false where it will not
    /// be. Something else is to do the [work](Self::work).
    pub fn written(&self, mark: u64) -> impl Future<Output = bool> + use<> {
        let mut written = self.written.clone();
        async move { written.wait_for(|count| *count >= mark).await.is_ok() }
    }

    /// Hands over what is gathered, and waits until it is written; false where
    /// it will not be.
    pub async fn flush(&mut self) -> bool {
        let mark = self.mark();
        if !self.gathered.is_empty() {
            self.work().await;
        }
        self.written(mark).await
    }

    /// Waits until everything is written. An output that was closed by its
    /// reader is no error: it had enough.
    ///
    /// # Errors
    ///
    /// Something could not be written.
    pub async fn finish(&mut self) -> io::Result<()> {
        if !self.gathered.is_empty() {
            self.work().await;
        }
        self.shut();
        let Some(result) = &mut self.result else {
            return Ok(());
        };
        let written = result.await;
        self.result = None;
        match written {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }

    fn shut(&mut self) {
        self.chunks = None;
        self.gathered = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as std_mpsc;

    use super::*;

    /// An output that passes on what is written, and fails when nobody reads.
    struct Pipe(std_mpsc::SyncSender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.send(bytes.to_vec()) {
                Ok(()) => Ok(bytes.len()),
                Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pipe() -> (Pipe, std_mpsc::Receiver<Vec<u8>>) {
        let (sender, receiver) = std_mpsc::sync_channel(0);
        (Pipe(sender), receiver)
    }

    #[tokio::test]
    async fn a_burst_is_one_write() {
        let (out, written) = pipe();
        let mut printer = Printer::start(out).expect("a thread");
        printer.put("a");
        printer.put("b");
        let mark = printer.mark();
        printer.work().await;
        assert_eq!(printer.mark(), mark, "nothing was put since");
        assert_eq!(written.recv().expect("a write"), b"a\nb\n");
        assert!(printer.gathered.is_empty());
        assert!(printer.written(mark).await);
        printer.put("c");
        let reader = std::thread::spawn(move || written.recv());
        assert!(printer.flush().await);
        assert_eq!(reader.join().expect("a reader"), Ok(b"c\n".to_vec()));
        printer.put("d");
        assert!(!printer.flush().await, "nobody reads any more");
    }

    #[tokio::test]
    async fn a_slow_output_is_waited_for() {
        let (out, written) = pipe();
        let mut printer = Printer::start(out).expect("a thread");
        let mut handed = 0;
        // The thread holds one piece, the channel the rest.
        let stuck = loop {
            printer.put(&handed.to_string());
            let mut work = Box::pin(printer.work());
            let waker = std::task::Waker::noop();
            let mut context = std::task::Context::from_waker(waker);
            if work.as_mut().poll(&mut context).is_pending() {
                break handed;
            }
            handed += 1;
        };
        assert!((WAITING..=WAITING + 1).contains(&stuck));
        assert!(
            !printer.gathered.is_empty(),
            "cancelled, it has done nothing"
        );
        let reader = std::thread::spawn(move || written.iter().flatten().collect::<Vec<u8>>());
        printer.finish().await.expect("all is written");
        drop(printer);
        let lines: Vec<String> = (0..=stuck).map(|n| n.to_string()).collect();
        assert_eq!(
            reader.join().expect("a reader"),
            (lines.join("\n") + "\n").into_bytes()
        );
    }

    #[tokio::test]
    async fn a_closed_output_is_no_error() {
        let (out, written) = pipe();
        let mut printer = Printer::start(out).expect("a thread");
        drop(written);
        printer.put("a");
        printer.work().await;
        printer.work().await;
        assert!(!printer.is_open());
        printer.put("b");
        assert!(printer.gathered.is_empty());
        printer.finish().await.expect("it had enough");
        printer.finish().await.expect("and still has");
    }

    #[tokio::test]
    async fn a_failed_output_says_why() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut printer = Printer::start(Full).expect("a thread");
        printer.put("a");
        let why = printer.finish().await.expect_err("the disk is full");
        assert_eq!(why.kind(), io::ErrorKind::StorageFull);
    }
}
