//! `rig logs N` for a pull request that no run leads: the logs that CI on this machine left of its commits.

use super::texts;
use crate::{
    cli::LogsArgs,
    commands::{CommandResult, Context, wire},
    config,
    domain::ids::PullRequestNumber,
    output::{Exit, Failure},
};
use serde_json::json;

/// Most logs that are shown, the newest ones.
const LOGS: u32 = 3;

/// Shows them, the oldest first; where there are none, `no_run` is what is wrong.
pub(super) async fn show(context: &Context, args: &LogsArgs, no_run: Failure) -> CommandResult {
    let root = context.root()?;
    let Some(store) = wire::existing_store(&root).await? else { return Err(no_run) };
    let names = match &args.project {
        Some(name) => vec![name.clone()],
        None => config::names(&root),
    };
    let redactor = wire::redactor(&root, &config::load(&root, &[]).projects);
    let mut shown = false;
    for name in names {
        let number = PullRequestNumber(args.issue.0);
        let rows = store.checks_of(&name, number, LOGS).await.map_err(|error| wire::store_failure(&error))?;
        for row in rows.into_iter().rev() {
            let Some(text) = texts::ci_log(&root, &name, &row.head) else { continue };
            shown = true;
            let content = texts::lines(&redactor.redact(&text.content));
            context.printer.line(format!("--- CI of pull request {number} at {}, {:.0} ---", row.head.short(), row.at));
            content.iter().for_each(|line| context.printer.line(line));
            let (place, text) = (text.place, content.join("\n"));
            context.printer.json(&json!({ "source": "ci", "at": row.at, "place": place, "text": text }));
        }
    }
    if shown { Ok(Exit::Ok) } else { Err(no_run) }
}
