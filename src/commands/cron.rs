//! `rig cron`: this root's lines in the user's crontab.

mod entry;

use super::{CommandResult, Context, load_failure, root_failure, runtime, switch, tell_problems, wire};
use crate::{
    cli::CronCommand,
    config::{self, Root},
    domain::crontab::{Torn, block_of, with_block, without_block},
    output::{Exit, Failure, Printer},
    ports::crontab::{Crontab, CrontabError},
};
use serde_json::json;
use std::{
    collections::BTreeSet,
    fs::File,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
};

/// Most bytes of what ticks said under cron; the ones before are kept once more.
const MOST_LOG_BYTES: u64 = 1024 * 1024;

pub fn run(context: &Context, command: CronCommand) -> CommandResult {
    let root = context.root()?;
    match command {
        CronCommand::Install { dry_run } => install(&root, context.printer, dry_run),
        CronCommand::Show => show(&root, context.printer),
        CronCommand::Remove => remove(&root, context.printer),
    }
}

fn install(root: &Root, printer: Printer, dry_run: bool) -> CommandResult {
    let loaded = config::load(root, &[]);
    tell_problems(&printer, &loaded.problems);
    let entry = entry::entry(root, &loaded.projects)?;
    let needed = config::variables_only_here(root).map_err(load_failure)?;
    let changed = if dry_run {
        None
    } else {
        root.ensure_state().map_err(root_failure)?;
        bound_log(root).map_err(|error| {
            Failure::user(format!("the log {} cannot be made: {error}", root.cron_log().display()))
                .hint("check that the state folder is writable and its disk is not full")
        })?;
        Some(runtime()?.block_on(write(root, &entry.lines))?)
    };
    match changed {
        None => entry.lines.iter().for_each(|line| printer.line(line)),
        Some(true) => printer.line(format!("cron calls rig dev poll for {} every ten minutes", root.path().display())),
        Some(false) => printer.line("the crontab has these lines already"),
    }
    tell_needs(root, printer, &needed, &entry.missing)?;
    printer.json(&json!({
        "root": root.path(), "lines": entry.lines, "changed": changed, "dry_run": dry_run,
        "only_in_this_environment": needed, "missing_programs": entry.missing, "problems": loaded.problems,
    }));
    Ok(Exit::Ok)
}

/// Says what a tick under cron lacks although it is there now.
fn tell_needs(root: &Root, printer: Printer, needed: &BTreeSet<String>, missing: &[String]) -> Result<(), Failure> {
    if !needed.is_empty() {
        let names: Vec<&str> = needed.iter().map(String::as_str).collect();
        printer.talk(format!(
            "{} only this environment has {}; cron does not see it",
            printer.paint(33, "warning:"),
            names.join(", ")
        ));
        printer.talk(format!(
            "  hint: write NAME=value lines into {} and close it to others: chmod 600",
            root.env_file().display()
        ));
    }
    for program in missing {
        printer.talk(format!("{} `{program}` is not on the PATH", printer.paint(33, "warning:")));
        printer.talk("  hint: install it, then rig cron install again");
    }
    if !switch::is_on(root)? {
        printer.talk("note: the dev loop is off; rig dev start switches it on");
    }
    Ok(())
}

/// Writes the root's lines. Returns whether anything was changed.
async fn write(root: &Root, lines: &[String]) -> Result<bool, Failure> {
    let crontab = wire::crontab();
    let before = crontab.read().await.map_err(crontab_failure)?;
    let after = with_block(&before, &name_of(root)?, lines).map_err(torn)?;
    replace(crontab.as_ref(), &before, &after).await
}

/// Replaces the table and reads it back: somebody else may write at the same time, and the last one wins.
async fn replace(crontab: &dyn Crontab, before: &[u8], after: &[u8]) -> Result<bool, Failure> {
    if before == after {
        return Ok(false);
    }
    crontab.write(after).await.map_err(crontab_failure)?;
    let there = crontab.read().await.map_err(crontab_failure)?;
    if there != after {
        return Err(Failure::new(Exit::Outside, "the crontab is not what was written")
            .hint("somebody else changed it at the same time: try again"));
    }
    Ok(true)
}

fn show(root: &Root, printer: Printer) -> CommandResult {
    let table = runtime()?.block_on(wire::crontab().read()).map_err(crontab_failure)?;
    let found = block_of(&table, &name_of(root)?).map_err(torn)?;
    let current = match &found {
        Some(lines) => {
            lines.iter().for_each(|line| printer.line(line));
            let wanted = entry::entry(root, &config::load(root, &[]).projects);
            Some(wanted.is_ok_and(|wanted| wanted.lines == *lines))
        }
        None => None,
    };
    match current {
        None => printer.talk(format!("cron does nothing for {}; rig cron install changes that", root.path().display())),
        Some(false) => printer.talk("note: from here, rig cron install would write other lines (--dry-run shows them)"),
        Some(true) => {}
    }
    printer.json(&json!({ "root": root.path(), "installed": found.is_some(), "current": current, "lines": found }));
    Ok(Exit::Ok)
}

fn remove(root: &Root, printer: Printer) -> CommandResult {
    let changed = runtime()?.block_on(async {
        let crontab = wire::crontab();
        let before = crontab.read().await.map_err(crontab_failure)?;
        let after = without_block(&before, &name_of(root)?).map_err(torn)?;
        replace(crontab.as_ref(), &before, &after).await
    })?;
    printer.line(match changed {
        true => "cron calls rig no more for this root; runs that are under way go on",
        false => "the crontab had no line of this root",
    });
    printer.json(&json!({ "root": root.path(), "changed": changed }));
    Ok(Exit::Ok)
}

/// Returns the root as the markers name it.
fn name_of(root: &Root) -> Result<String, Failure> {
    entry::text(root.path())
}

/// Keeps the log of ticks under cron within bounds, where cron calls rig at all. A log that cannot be kept keeps nothing from
/// being done.
pub(super) fn keep_log_bounded(root: &Root) {
    if root.cron_log().exists()
        && let Err(error) = bound_log(root)
    {
        tracing::warn!(%error, "the log of cron's ticks cannot be kept within bounds");
    }
}

/// Makes the log, closed to others; a long one becomes the old one.
fn bound_log(root: &Root) -> std::io::Result<()> {
    let path = root.cron_log();
    if path.metadata().is_ok_and(|metadata| metadata.len() > MOST_LOG_BYTES) {
        std::fs::rename(&path, path.with_extension("log.old"))?;
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root.log_dir())?;
    File::options().append(true).create(true).mode(0o600).open(&path).map(drop)
}

fn torn(torn: Torn) -> Failure {
    Failure::user(torn)
        .hint("mend it with crontab -e: a block begins with `# rig begin ROOT` and ends with `# rig end ROOT`")
}

fn crontab_failure(error: CrontabError) -> Failure {
    match error {
        CrontabError::NotInstalled => Failure::user(error)
            .hint("install cron: apt-get install cron; or use the systemd timer in examples/ of rig's repository"),
        CrontabError::Refused { .. } => Failure::new(Exit::Outside, error)
            .hint("check that this user may have a crontab (/etc/cron.allow, /etc/cron.deny)"),
    }
}
