//! Writes man pages and shell completions of both commands into a folder, made
//! from the very definitions their flags are read by:
//!
//! `cargo run --example manual -- FOLDER`

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

fn write(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let commands: [Command; 2] = [
        client::ClientFlags::command(),
        server::flags::ServerFlags::command(),
    ];
    for command in commands {
        let name = command.get_name().to_owned();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            clap_complete::generate_to(shell, &mut command.clone(), &name, folder)?;
        }
        clap_mangen::generate_to(command, folder)?;
    }
    Ok(())
}

fn main() -> io::Result<()> {
    match std::env::args_os().nth(1) {
        Some(folder) => write(Path::new(&folder)),
        None => Err(io::Error::other(
            "usage: cargo run --example manual -- FOLDER",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_in_them() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        write(folder.path())?;
        for (file, flag) in [
            ("client.1", "no\\-bell"),
            ("client.bash", "--no-bell"),
            ("_client", "--no-bell"),
            ("client.fish", "no-bell"),
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
