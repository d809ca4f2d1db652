//! Whether the server does what `/-/openapi.json` says: schemathesis makes
//! requests of it, right and wrong ones, and looks at the answers.

use std::process::ExitStatus;

use super::program::{command, output, tool};
use crate::support::TestServer;

/// So many requests of a kind at most: enough for each rule, in some seconds.
const EXAMPLES: &str = "20";

async fn tried(server: &TestServer, arguments: &[&str]) -> (ExitStatus, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut schemathesis = command(tool("python/bin/schemathesis"));
    schemathesis
        .arg("run")
        .arg(format!("http://{}/-/openapi.json", server.addr))
        .args(["--max-examples", EXAMPLES, "--seed", "7", "--no-color"])
        .args(["--phases", "examples,coverage,fuzzing"])
        // Which letters there are is for each Unicode to say.
        .args([
            "--generation-codec",
            "ascii",
            "--generation-database",
            "none",
        ])
        .args(["--request-timeout", "10", "--max-failures", "10"])
        .args(arguments)
        // It keeps what it has tried.
        .current_dir(folder.path());
    output(schemathesis).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_true() {
    let server = TestServer::start().await;
    let mut ana = server.plain("/tea?name=ana").await;
    ana.text_after("hello").await;
    for arguments in [
        &[][..],
        &[
            "--header",
            "Accept: application/json",
            "--include-method",
            "GET",
        ],
    ] {
        let (ended, said) = tried(&server, arguments).await;
        assert!(ended.success(), "{arguments:?}: {said}");
    }
}
