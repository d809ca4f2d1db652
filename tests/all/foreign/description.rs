//! Tests that the server conforms to `/-/openapi.json`: schemathesis sends
//! valid and invalid requests and checks the responses.

use std::process::ExitStatus;

use super::program::{command, output, tool};
use crate::support::TestServer;

/// The most requests per operation and phase: enough for each rule, in a few
/// seconds.
const EXAMPLES: &str = "20";

/// A valid request may be refused with the usual statuses, and with 422: two
/// examples can have one key and two texts.
const CONFIG: &str = r#"
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "422", "429", "5xx"]
"#;

async fn tried(server: &TestServer, arguments: &[&str]) -> (ExitStatus, String) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("schemathesis.toml"), CONFIG).expect("written");
    let mut schemathesis = command(tool("python/bin/schemathesis"));
    schemathesis
        .arg("run")
        .arg(format!("http://{}/-/openapi.json", server.addr))
        .args(["--max-examples", EXAMPLES, "--seed", "7", "--no-color"])
        .args(["--phases", "examples,coverage,fuzzing"])
        // Which characters are letters depends on the Unicode version.
        .args([
            "--generation-codec",
            "ascii",
            "--generation-database",
            "none",
        ])
        .args(["--request-timeout", "10", "--max-failures", "10"])
        .args(arguments)
        // It stores its results in the current folder.
        .current_dir(folder.path());
    output(schemathesis).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_conforms_to_its_openapi_description() {
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
