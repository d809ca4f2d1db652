//! Standard output, written on a thread of its own. If the output is slow, the
//! client reads the chat more slowly; it drops nothing.

use std::{
    io::{self, Write},
    mem, thread,
};

use tokio::sync::{mpsc, oneshot, watch};

/// The size at which gathered text goes to the thread before more is added, in
/// bytes.
const CHUNK: usize = 32 * 1024;

/// The number of pieces that may wait for the thread.
const WAITING: usize = 4;

/// Prints lines.
///
/// Lines gather here while more arrive, and go to the thread in pieces. So a
/// burst costs few writes, and a single line is shown at once.
#[derive(Debug)]
pub struct Printer {
    gathered: Vec<u8>,
    /// `None` once the output has failed or was closed.
    chunks: Option<mpsc::Sender<Vec<u8>>>,
    /// The number of pieces given to the thread.
    handed: u64,
    /// The number of pieces that the thread has written.
    written: watch::Receiver<u64>,
    /// The result of all writing; `None` once [`finish`](Self::finish) took it.
    result: Option<oneshot::Receiver<io::Result<()>>>,
}

impl Printer {
    /// Starts the thread that writes.
    ///
    /// # Errors
    ///
    /// Fails if the thread cannot be started.
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
                // The printer may be gone already.
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

    /// Adds a text without a line end.
    pub fn write(&mut self, text: &str) {
        if self.is_open() {
            self.gathered.extend_from_slice(text.as_bytes());
        }
    }

    /// Whether the output still takes text.
    pub fn is_open(&self) -> bool {
        self.chunks.is_some()
    }

    /// Whether [`work`](Self::work) must run before more text is added.
    pub fn is_full(&self) -> bool {
        self.gathered.len() >= CHUNK
    }

    /// Gives the gathered text to the thread, once there is room. With nothing
    /// gathered, it waits for the output to fail or close. It is cancel-safe.
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

    /// A mark behind all text added so far; [`written`](Self::written) waits
    /// for it.
    pub fn mark(&self) -> u64 {
        self.handed + u64::from(!self.gathered.is_empty())
    }

    /// Waits until everything up to a mark is written; false if it never will
    /// be. The caller must also run [`work`](Self::work).
    pub fn written(&self, mark: u64) -> impl Future<Output = bool> + use<> {
        let mut written = self.written.clone();
        async move { written.wait_for(|count| *count >= mark).await.is_ok() }
    }

    /// Gives the gathered text to the thread and waits until it is written;
    /// false if it never will be.
    pub async fn flush(&mut self) -> bool {
        let mark = self.mark();
        if !self.gathered.is_empty() {
            self.work().await;
        }
        self.written(mark).await
    }

    /// Waits until everything is written. An output that its reader closed is
    /// no error.
    ///
    /// # Errors
    ///
    /// Fails if the output could not be written for any other reason.
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

    /// An output that passes each write on, and fails without a reader.
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
    async fn a_burst_takes_one_write() {
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
        assert!(!printer.flush().await, "the reader is gone");
    }

    #[tokio::test]
    async fn a_slow_output_loses_nothing() {
        let (out, written) = pipe();
        let mut printer = Printer::start(out).expect("a thread");
        let mut handed = 0;
        // The thread holds one piece, the channel holds the others.
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
            "cancelled work has sent nothing"
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
        printer.finish().await.expect("no error");
        printer.finish().await.expect("no error the second time");
    }

    #[tokio::test]
    async fn a_failed_output_gives_its_error() {
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
