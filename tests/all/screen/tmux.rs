//! The client in tmux, which keeps a screen that is erased as a whole.

use std::{ffi::OsStr, path::PathBuf, time::Duration};

use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::{
    foreign::program::{command, output},
    programs::{CLIENT, folder},
    support::TestServer,
};

/// How long the screen may take to change.
const PATIENCE: Duration = Duration::from_secs(60);

struct Tmux {
    folder: TempDir,
}

impl Tmux {
    /// Starts a tmux of 60 columns and 12 rows, which runs a shell command.
    async fn start(shell: &str) -> Self {
        let tmux = Tmux { folder: folder() };
        let state = format!("XDG_STATE_HOME={}", tmux.folder.path().display());
        let size = ["-x", "60", "-y", "12", "-e", &state, shell];
        tmux.run(&[&["-f", "/dev/null", "new-session", "-d"], &size[..]].concat())
            .await;
        tmux
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("tmux")
    }

    async fn run(&self, args: &[&str]) -> String {
        let mut tmux = command("tmux");
        tmux.args([OsStr::new("-S"), self.socket().as_os_str()]);
        tmux.args(args);
        let (ended, said) = output(tmux).await;
        assert!(ended.success(), "{args:?}: {said}");
        said
    }

    /// Waits until the screen and the scrollback satisfy a condition.
    async fn until(&self, holds: impl Fn(&str) -> bool) -> String {
        let mut shown = String::new();
        let waiting = async {
            loop {
                shown = self.run(&["capture-pane", "-p", "-S", "-"]).await;
                if holds(&shown) {
                    break;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(timeout(PATIENCE, waiting).await.is_ok(), "{shown}");
        shown
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let mut tmux = command("tmux");
        tmux.args([OsStr::new("-S"), self.socket().as_os_str()]);
        let _ = tmux.arg("kill-server").output();
    }
}

// Verified to fail when the whole screen is erased at once.
#[tokio::test]
async fn no_state_line_stays_in_the_scrollback() {
    let server = TestServer::start().await;
    let mut bob = server.plain("/?name=bob").await;
    let tmux = Tmux::start(&format!("clear; exec {CLIENT} {} --name ana", server.addr)).await;
    tmux.until(|shown| shown.contains("2 here · ana · connected"))
        .await;
    bob.text_after("first").await;
    tmux.until(|shown| shown.contains("bob: first")).await;
    tmux.run(&["send-keys", "C-l"]).await;
    bob.text_after("second").await;
    let shown = tmux.until(|shown| shown.contains("bob: second")).await;
    let states = shown.lines().filter(|row| row.starts_with("lobby ·"));
    assert_eq!(states.count(), 1, "{shown}");
}
