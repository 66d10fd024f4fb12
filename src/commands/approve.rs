//! `rig approve`: a person's word that a change of what the gate rests on may pass. The run's journal has who said it and of
//! which commit; on the forge it is no review.

use super::{CommandResult, Context, handle::this_person, load_failure, runtime, wire};
use crate::{
    cli::ApproveArgs,
    config::{self, Root},
    engine::approve::{Approval, Word, approve},
    output::{Exit, Failure},
    ports::store::{RunRow, Store},
};
use serde_json::json;

/// Digits of a commit that tell it from others.
const SHORTEST_COMMIT: usize = 7;

pub fn run(context: &Context, args: ApproveArgs) -> CommandResult {
    if let Some(head) = &args.head {
        let is_commit = head.len() >= SHORTEST_COMMIT && head.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_commit {
            return Err(Failure::new(Exit::Usage, format!("`{head}` is no commit"))
                .hint(format!("give at least {SHORTEST_COMMIT} digits of it, as rig's comment on the issue does")));
        }
    }
    let root = context.root()?;
    runtime()?.block_on(give(context, &root, &args))
}

async fn give(context: &Context, root: &Root, args: &ApproveArgs) -> CommandResult {
    let store = wire::existing_store(root).await?;
    let Some(store) = store else { return Err(no_run(root, args)) };
    let row = find(&*store, root, args).await?;
    let who = this_person();
    let id = format!("approve-{}", wire::new_id());
    let machine = wire::machine(root, wire::this_program()?);
    let word = Word { id: &id, who: &who, head: args.head.as_deref() };
    let approval = approve(&*store, &*machine, &row, word).await.map_err(|error| wire::store_failure(&error))?;
    let (head, files, changed, words) = match approval {
        Approval::Nothing(why) => {
            let why = why.trim_end_matches('.').to_owned();
            return Err(Failure::user(why).hint(format!("rig gate {} shows what the gate waits for", row.issue.0)));
        }
        Approval::Known { who, head } => {
            let words = format!("{who} has accepted it already, at {}", head.short());
            (head, Vec::new(), false, words)
        }
        Approval::Given { pull_request, head, files } => {
            let words = format!(
                "accepted by {who}: pull request {pull_request} may change {} at {}",
                files.join(", "),
                head.short()
            );
            (head, files, true, words)
        }
    };
    context.printer.line(words);
    context.printer.json(&json!({
        "project": row.project, "issue": row.issue, "pull_request": row.pull_request, "head": head, "files": files,
        "changed": changed,
    }));
    Ok(Exit::Ok)
}

/// Finds the run of an issue, or the open one of a pull request, whichever project it belongs to when only one has it.
async fn find(store: &dyn Store, root: &Root, args: &ApproveArgs) -> Result<RunRow, Failure> {
    let failure = |error| wire::store_failure(&error);
    let names = match &args.project {
        Some(_) => vec![config::one_name(root, args.project.as_ref()).map_err(load_failure)?],
        None => config::names(root),
    };
    let mut found = Vec::new();
    for name in &names {
        let of_issue = store.latest_run(name, crate::domain::ids::IssueNumber(args.number)).await.map_err(failure)?;
        let open = store.open_runs(Some(name)).await.map_err(failure)?;
        let of_pull_request =
            open.into_iter().find(|run| run.pull_request.is_some_and(|number| number.0 == args.number));
        found.extend(of_issue.or(of_pull_request));
    }
    if found.iter().filter(|run| run.open).count() == 1 {
        found.retain(|run| run.open);
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(no_run(root, args)),
        _ => {
            let names: Vec<String> = found.iter().map(|run| run.project.to_string()).collect();
            Err(Failure::user(format!("{} is in {}", args.number, names.join(" and in ")))
                .hint("say which with --project NAME"))
        }
    }
}

fn no_run(root: &Root, args: &ApproveArgs) -> Failure {
    Failure::user(format!("neither an issue nor a pull request {} has a run in {}", args.number, root.path().display()))
        .hint("rig status --all shows the runs; --root names another root")
}
