//! Writes man pages and shell completions of both commands into a folder, made
//! from the very definitions their flags are read by. Packages install the
//! commands under other names:
//!
//! `cargo run --example manual -- FOLDER [SERVER CLIENT]`

use std::{fs, io, path::Path};

use clap::{Command, CommandFactory};
use clap_complete::Shell;

#[allow(dead_code)] // here they are only looked at
#[path = "../src/bin/client/flags.rs"]
mod client;

#[allow(dead_code)]
#[path = "../src/bin/server"]
mod server {
    pub(super) mod exit;
    pub(super) mod files;
    pub(super) mod flags;
    pub(super) mod listeners;
}

fn write(folder: &Path, server: &str, client: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let commands: [(Command, &str); 2] = [
        (server::flags::ServerFlags::command(), server),
        (client::ClientFlags::command(), client),
    ];
    for (command, name) in commands {
        let command = command.name(name.to_owned());
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            clap_complete::generate_to(shell, &mut command.clone(), name, folder)?;
        }
        clap_mangen::generate_to(command, folder)?;
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [folder] => write(Path::new(folder), "server", "client"),
        [folder, server, client] => write(Path::new(folder), server, client),
        _ => Err(io::Error::other(
            "usage: cargo run --example manual -- FOLDER [SERVER CLIENT]",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_in_them() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        write(folder.path(), "server", "chat")?;
        for (file, flag) in [
            ("chat.1", "no\\-bell"),
            ("chat.bash", "--no-bell"),
            ("_chat", "--no-bell"),
            ("chat.fish", "no-bell"),
            ("server.1", "max\\-per\\-address"),
            ("server-backup.1", "FILE"),
            ("server.bash", "--max-per-address"),
            ("_server", "--max-per-address"),
            ("server.fish", "max-per-address"),
        ] {
            let text = fs::read_to_string(folder.path().join(file))?;
            assert!(text.contains(flag), "{file}");
        }
        Ok(())
    }
}
