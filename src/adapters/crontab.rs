//! The user's crontab through the program of that name, whichever cron it belongs to.

use super::process::{ProcessError, Program};
use crate::ports::crontab::{Crontab, CrontabError};
use async_trait::async_trait;
use std::time::Duration;

/// Time limit of one call: it reads or writes one small file.
const CALL_TIME: Duration = Duration::from_secs(20);
/// How the crontab programs say that there is no table yet: those of Debian and cronie, and that of busybox.
const NONE_YET: [&str; 2] = ["no crontab for", "No such file or directory"];

/// The crontab of the user who runs rig.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserCrontab;

fn program() -> Program {
    // Their words are looked at, so that they must be the ones that are known.
    Program::new("crontab").env("LC_ALL", "C").timeout(CALL_TIME)
}

fn refused(error: ProcessError) -> CrontabError {
    match error {
        ProcessError::NotInstalled { .. } => CrontabError::NotInstalled,
        ProcessError::Failed { message, .. } => CrontabError::Refused { message },
        other => CrontabError::Refused { message: other.to_string() },
    }
}

#[async_trait]
impl Crontab for UserCrontab {
    async fn read(&self) -> Result<Vec<u8>, CrontabError> {
        let output = program().arg("-l").run().await.map_err(refused)?;
        let said = output.error_text();
        if output.truncated {
            return Err(CrontabError::Refused { message: "the crontab is too long to be changed safely".to_owned() });
        }
        match output.status.success() {
            true => Ok(output.stdout),
            false if NONE_YET.iter().any(|words| said.contains(words)) => Ok(Vec::new()),
            false => Err(CrontabError::Refused { message: said }),
        }
    }

    async fn write(&self, table: &[u8]) -> Result<(), CrontabError> {
        program().arg("-").stdin(table).run_ok().await.map(drop).map_err(refused)
    }
}
