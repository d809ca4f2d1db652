//! The flag of the data folder.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Folder {
    /// The folder of the history; the server creates it if it does not exist
    #[arg(
        long,
        env = "CHAT_DATA",
        value_name = "FOLDER",
        default_value = "chat-data"
    )]
    pub(crate) data: PathBuf,
}
