//! The configuration file, as an operator uses it.

use std::{fs, path::Path};

use tokio::process::Command;

use crate::programs::{Program, SERVER, folder, listening};

/// A server in a folder, with the flags of this file there.
fn configured(folder: &Path, text: &str, args: &[&str]) -> Command {
    fs::write(folder.join("chat.toml"), text).expect("a file");
    let mut command = Command::new(SERVER);
    command.current_dir(folder).args(args);
    command
}

// Verified to fail when the file overrides the environment.
#[tokio::test]
async fn flags_override_the_environment_and_that_the_file() {
    let folder = folder();
    let text = "port = 1\nmax-text = 3\nmotd = \"motd\"\nephemeral = true\n";
    fs::write(folder.path().join("motd"), "From the file.").expect("a file");
    let mut command = configured(folder.path(), text, &["--port", "0"]);
    command
        .env("CHAT_CONFIG", "chat.toml")
        .env("CHAT_MAX_TEXT", "4");
    let (_server, addr) = listening(&mut command).await;
    let mut client = Program::client(addr, &[]);
    client.line().await;
    assert_eq!(client.line().await, "* From the file.");
    client.type_line("four").await;
    assert!(client.line().await.ends_with(": four"));
    client.type_line("fives").await;
    assert_eq!(client.exit().await, 1);
    let said = client.stderr_lines().await;
    assert!(said[0].contains("more than 4 bytes"), "{said:?}");
    assert!(!folder.path().join("chat-data").exists());
}

#[tokio::test]
async fn all_mistakes_are_told_at_once_with_their_lines() {
    let folder = folder();
    let text = "prot = 80\nmax-text = 0\ntls-cert = \"missing.pem\"\nmotd = \"missing.txt\"\n\
                proxy-protocol = true\n";
    for args in [
        &["--config", "chat.toml"][..],
        &["check-config", "--config", "chat.toml"],
    ] {
        let mut command = configured(folder.path(), text, args);
        command.env("CHAT_PING", "soon");
        let mut server = Program::start(&mut command);
        assert_eq!(server.exit().await, 2);
        let said = server.stderr_lines().await;
        let parts = [
            "CHAT_PING: invalid value 'soon'",
            "chat.toml: line 1: there is no key \"prot\": write port",
            "chat.toml: line 2: invalid value '0' for '--max-text <BYTES>'",
            "chat.toml: line 5: --proxy-protocol needs --trusted-proxy",
            "chat.toml: line 4: --motd missing.txt: No such file",
            "chat.toml: line 3: --tls-cert needs --tls-key",
        ];
        assert_eq!(said.len(), parts.len(), "{said:#?}");
        for (said, part) in said.iter().zip(parts) {
            assert!(said.starts_with(&format!("server: {part}")), "{said}");
        }
    }
    let mut server = Program::start(&mut configured(folder.path(), "", &["--config", "no.toml"]));
    assert_eq!(server.exit().await, 2);
    let said = server.stderr_lines().await;
    assert!(
        said[0].contains("--config no.toml: No such file"),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_checked_configuration_says_what_would_be_served() {
    let folder = folder();
    let text = "port = 443\nbind = \"0.0.0.0\"\ntls-self-signed = true\nprefix = \"/chat\"\n";
    let mut command = configured(folder.path(), text, &["check-config", "--config=chat.toml"]);
    let mut checked = Program::start(&mut command);
    assert_eq!(checked.exit().await, 0);
    let said = checked.lines().await.join("\n");
    for part in ["https", "0.0.0.0:443", "/chat/", "in chat-data"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!folder.path().join("chat-data").exists());
}

#[tokio::test]
async fn other_commands_use_the_folder_of_the_file() {
    let folder = folder();
    let (mut server, _) = listening(&mut configured(
        folder.path(),
        "data = \"store\"\nport = 0\n",
        &["--config", "chat.toml"],
    ))
    .await;
    assert!(folder.path().join("store").is_dir());
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.exit().await, 0);
    for args in [
        &["check", "--config", "chat.toml"][..],
        &["check", "--data", "store"],
    ] {
        let mut command = Command::new(SERVER);
        let mut check = Program::start(command.current_dir(folder.path()).args(args));
        assert_eq!(check.exit().await, 0, "{args:?}");
    }
}

// Verified to fail when a flag's variable counts as unknown.
#[tokio::test]
async fn unknown_variables_are_warned_of() {
    let folder = folder();
    let mut command = configured(folder.path(), "", &["--port", "0"]);
    command.env("CHAT_PROT", "1").env("CHAT_DATA", "chat-data");
    let (mut server, _) = listening(&mut command).await;
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.exit().await, 0);
    let said = server.stderr_lines().await;
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("CHAT_PROT"), "{said:?}");
}
