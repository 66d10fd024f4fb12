//! The crontab port: the table of the user who runs rig, read and written as a whole.

use async_trait::async_trait;

#[derive(Debug, thiserror::Error)]
pub enum CrontabError {
    #[error("`crontab` is not installed")]
    NotInstalled,
    /// The program said no, such as to a user who may not have a crontab.
    #[error("`crontab` refused: {message}")]
    Refused { message: String },
}

#[async_trait]
pub trait Crontab: Send + Sync {
    /// Returns the table; that of a user who has none is empty.
    async fn read(&self) -> Result<Vec<u8>, CrontabError>;
    async fn write(&self, table: &[u8]) -> Result<(), CrontabError>;
}
