//! `rig matrix check`: for each room who rig is there, who else, whether it is encrypted, and what stands in the way.

use crate::{
    cli::MatrixProjectArgs,
    commands::{CommandResult, Context, runtime, wire},
    config::{
        Root,
        settings::{Matrix, Project},
    },
    domain::chat::Channel,
    output::{Exit, Failure},
    ports::chat::RoomReport,
};
use serde::Serialize;
use serde_json::json;

/// Members that are named.
const MEMBERS_SHOWN: usize = 10;

/// What is wrong, and what to do about it.
#[derive(Debug, Serialize)]
struct Finding {
    problem: String,
    hint: String,
}

pub(super) fn run(context: &Context, args: MatrixProjectArgs) -> CommandResult {
    let root = context.root()?;
    let rooms = super::rooms(context, &root, args.project.as_ref())?;
    let mut worst = Exit::Ok;
    for (project, matrix) in &rooms {
        let checked = runtime()?.block_on(check(&root, project, matrix));
        match checked {
            Ok((report, findings)) => {
                print(context, project, &report, &findings);
                if !findings.is_empty() {
                    worst = Exit::User;
                }
            }
            Err(failure) => {
                let failure = failure.context(format!("project {}", project.name));
                context.printer.failure(&failure);
                worst = failure.exit;
            }
        }
    }
    context.printer.conclude(worst, "something stands in the way of Matrix");
    Ok(worst)
}

async fn check(root: &Root, project: &Project, matrix: &Matrix) -> Result<(RoomReport, Vec<Finding>), Failure> {
    let report = wire::matrix_check(root, matrix).await?;
    let mut findings = Vec::new();
    let mut find = |problem: String, hint: String| findings.push(Finding { problem, hint });
    if report.device_keys_match == Some(false) {
        find(
            format!(
                "the homeserver does not know the keys of the device {}: it was deleted or replaced",
                report.device
            ),
            "log in as a new device: rig matrix login --new-device".into(),
        );
    }
    if !report.joined {
        find(
            format!("{} is not in the room {}", report.user, report.room),
            format!("invite {} into the room; rig accepts by itself as soon as its bridge runs", report.user),
        );
    } else if report.power < report.power_to_send {
        find(
            format!(
                "{} may not send there: it has power {}, {} is needed",
                report.user, report.power, report.power_to_send
            ),
            "raise it in the room's settings, under permissions".into(),
        );
    }
    let others = matrix.mention_user.iter().chain(&matrix.second_contact).chain(&matrix.allowed_users);
    for user in others.filter(|user| report.joined && !report.members.contains(user)) {
        find(
            format!("{user} is not in the room"),
            format!("invite {user}, or correct [matrix] of {}.toml", project.name),
        );
    }
    if matrix.allowed_users.is_empty() {
        find(
            "nobody may answer: allowed_users is empty".into(),
            format!("name people in [matrix] allowed_users of {}.toml", project.name),
        );
    }
    if let Some(why) = wire::bridge_last_failure(root) {
        find(format!("the bridge failed last time: {why}"), "rig matrix run shows it here".into());
    }
    if let Some(store) = wire::existing_store(root).await? {
        let state = store.outbox_state(Channel::Matrix).await.map_err(|error| wire::store_failure(&error))?;
        if state.waiting > 0 && !state.error.is_empty() {
            find(
                format!("{} messages wait: {}", state.waiting, state.error),
                "they are tried again while the bridge runs".into(),
            );
        }
    }
    Ok((report, findings))
}

fn print(context: &Context, project: &Project, report: &RoomReport, findings: &[Finding]) {
    let printer = &context.printer;
    let more = report.members.len().saturating_sub(MEMBERS_SHOWN);
    let mut members = report.members.iter().take(MEMBERS_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 {
        members.push_str(&format!(", and {more} more"));
    }
    let power = if report.power == i64::MAX { "creator".to_owned() } else { report.power.to_string() };
    printer.line(format!("{}:", project.name));
    printer.line(format!("  account     {} (device {})", report.user, report.device));
    printer.line(format!("  room        {}", report.room));
    if report.joined {
        printer.line(format!("  members     {members}"));
        printer.line(format!("  encryption  {}", report.encryption.as_deref().unwrap_or("none")));
        printer.line(format!("  power       {power}, {} is needed to send", report.power_to_send));
    }
    for finding in findings {
        printer.line(format!("  {} {}", printer.paint(31, "wrong:"), finding.problem));
        printer.line(format!("    hint: {}", finding.hint));
    }
    if findings.is_empty() {
        printer.line(format!("  {}", printer.paint(32, "all is well")));
    }
    printer.json(&json!({ "project": project.name, "report": report, "findings": findings }));
}
