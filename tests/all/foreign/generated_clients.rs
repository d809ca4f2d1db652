//! Clients that generators make from `/-/openapi.json`.

use std::{env, fs, path::Path};

use serde_json::Value;

use super::program::{command, output, script, tool};
use crate::support::TestServer;

/// The description that a server gives.
async fn description(server: &TestServer, folder: &Path) -> std::path::PathBuf {
    let body = server.get("/-/openapi.json", "application/json").await;
    let path = folder.join("openapi.json");
    fs::write(&path, body).expect("written");
    path
}

/// The names of all keys of an object, at any depth.
fn keys<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                found.push(key);
                keys(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[test]
fn the_description_has_nothing_that_breaks_generators() {
    let description = include_str!("../../../src/http/openapi.json");
    let description = serde_json::from_str(description).expect("JSON");
    let mut found = Vec::new();
    keys(&description, &mut found);
    for breaking in ["const", "allOf", "not", "patternProperties", "if"] {
        assert!(!found.contains(&breaking), "{breaking}");
    }
}

// Verified to fail when the body of a POST has no JSON form, and with the text
// as the first form of a page.
#[tokio::test(flavor = "multi_thread")]
async fn a_generated_python_client_talks_to_the_server() {
    let server = TestServer::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = description(&server, folder.path()).await;
    // Its warnings are on standard error. It formats its result by a program
    // beside it.
    let mut generator = command("sh");
    let programs = tool("generators/bin");
    let paths = format!(
        "{}:{}",
        programs.display(),
        env::var("PATH").expect("a path")
    );
    generator
        .args(["-c", "exec \"$0\" \"$@\" 2>&1"])
        .arg(tool("generators/bin/openapi-python-client"))
        .args(["generate", "--path"])
        .arg(&path)
        .arg("--output-path")
        .arg(folder.path().join("made"))
        .env("PATH", paths);
    let (ended, said) = output(generator).await;
    assert!(ended.success(), "{said}");
    // It knows no plain text as a body, and takes the JSON.
    let warnings: Vec<_> = said
        .lines()
        .filter(|line| line.contains("WARNING"))
        .collect();
    assert_eq!(
        warnings,
        ["WARNING parsing POST /{room} within default."],
        "{said}"
    );
    assert!(
        said.contains("Unsupported content type text/plain"),
        "{said}"
    );

    let mut client = command(tool("generators/bin/python"));
    client
        .arg(script("generated_client.py"))
        .arg(format!("http://{}", server.addr))
        .env("PYTHONPATH", folder.path().join("made"));
    let (ended, said) = output(client).await;
    assert!(ended.success(), "{said}");
    assert_eq!(said.trim(), "done");
}

// Verified to fail when the schema of a stored message is missing.
#[tokio::test(flavor = "multi_thread")]
async fn generated_typescript_types_know_every_field() {
    let server = TestServer::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = description(&server, folder.path()).await;
    let mut generator = command("node");
    generator
        .arg(tool("node/node_modules/openapi-typescript/bin/cli.js"))
        .arg(&path)
        .arg("-o")
        .arg(folder.path().join("chat.ts"));
    let (ended, said) = output(generator).await;
    assert!(ended.success(), "{said}");
    let used = folder.path().join("generated_types.ts");
    fs::copy(script("generated_types.ts"), &used).expect("copied");
    let mut compiler = command("node");
    compiler
        .arg(tool("node/node_modules/typescript/bin/tsc"))
        .args(["--strict", "--noEmit", "--skipLibCheck"])
        .arg(&used)
        .current_dir(folder.path());
    let (ended, said) = output(compiler).await;
    assert!(ended.success(), "{said}");
}
