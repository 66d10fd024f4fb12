//! The demo's end: what the forge and the mirror really say, and where the time went. Only they decide the exit code.

use super::{
    Demo,
    sample::{self, NAME, OWNER},
    timeline::{Story, Timeline},
};
use crate::{
    config,
    domain::{ids::IssueNumber, issue::OpenOrClosed},
    output::{Exit, Failure},
    ports::{forge::Forge, store::Store},
};
use serde_json::json;
use std::time::Duration;

/// Checks the outcome and prints it.
pub(super) async fn print(
    demo: &Demo,
    timeline: &Timeline,
    store: &dyn Store,
    took: Duration,
) -> Result<Exit, Failure> {
    let project = config::load_one(&demo.root, None).map_err(super::super::load_failure)?;
    let forge = super::wire::forge(&project)?;
    let mut rows = Vec::new();
    let mut merged = 0;
    for issue in &timeline.order {
        let Some(story) = timeline.stories.values().find(|story| story.issue == *issue) else { continue };
        let good = is_merged_and_closed(forge.as_ref(), story).await && demo.is_mirrored(story).await;
        merged += usize::from(good);
        rows.push(row(story, good));
    }
    let on_forge = forge.branch_tip(&project.primary_branch).await.ok().flatten().map(|sha| sha.to_string());
    let in_mirror = sample::tip(&demo.sample.mirror, &project.primary_branch).await;
    let mirrored = on_forge.is_some() && on_forge == in_mirror;
    let wanted = usize::from(demo.args.issues);
    let all = merged == wanted && mirrored && right_order(&timeline.order, wanted);
    let printer = demo.printer;
    printer.line("");
    printer.table(&["issue", "title", "pull request", "merged as", "took", ""], &rows);
    printer.line("");
    printer.line(format!("{OWNER}/{NAME} main  {}", on_forge.as_deref().unwrap_or("unknown")));
    printer.line(format!("mirror main        {}", in_mirror.as_deref().unwrap_or("unknown")));
    printer.line(format!("journal            {}", demo.root.database().display()));
    printer.line(format!("events             {}", store.journal(0, u32::MAX).await.map_or(0, |events| events.len())));
    printer.line(format!(
        "time               {:.1} s; nothing but rig itself was waited for in {:.2} s of it",
        took.as_secs_f64(),
        timeline.own_time.as_secs_f64()
    ));
    let outcome = if all { "merged" } else { "failed" };
    printer.line(match all {
        true => printer.paint(32, &format!("{merged} of {wanted} issues merged, closed and mirrored")),
        false => printer.paint(
            31,
            &format!("only {merged} of {wanted} issues are merged, closed and mirrored, in the right order"),
        ),
    });
    printer.json(&json!({
        "outcome": outcome, "merged": merged, "wanted": wanted, "order": timeline.order,
        "seconds": took.as_secs_f64(), "own_seconds": timeline.own_time.as_secs_f64(), "mirrored_seconds": timeline.longest_to_mirror(),
        "main": on_forge, "mirror": in_mirror, "journal": demo.root.database(),
        "kept": demo.args.keep || !all, "exit": if all { Exit::Ok } else { Exit::Outside } as u8,
    }));
    Ok(if all { Exit::Ok } else { Exit::Outside })
}

impl Demo {
    async fn is_mirrored(&self, story: &Story) -> bool {
        let Some(commit) = &story.commit else { return false };
        sample::contains(&self.sample.mirror, commit).await
    }
}

async fn is_merged_and_closed(forge: &dyn Forge, story: &Story) -> bool {
    let Some(number) = story.pull_request else { return false };
    let merged = forge.pull_request(number).await.is_ok_and(|pull_request| pull_request.merged);
    let closed = forge.issue(story.issue).await.is_ok_and(|issue| issue.state == OpenOrClosed::Closed);
    merged && closed && story.merged
}

/// Priority first, the dependent last.
fn right_order(order: &[IssueNumber], wanted: usize) -> bool {
    let expected: &[u64] = match wanted {
        1 => &[1],
        2 => &[2, 1],
        _ => &[2, 1, 3],
    };
    order.iter().map(|issue| issue.0).eq(expected.iter().copied())
}

fn row(story: &Story, good: bool) -> Vec<String> {
    let took = story.ended_at.map(|end| end.duration_since(story.claimed_at).as_secs_f64());
    vec![
        story.issue.to_string(),
        story.title.clone(),
        story.pull_request.map(|number| number.to_string()).unwrap_or_default(),
        story.commit.as_deref().map(|sha| sha.chars().take(10).collect()).unwrap_or_default(),
        took.map(|secs| format!("{secs:.1} s")).unwrap_or_default(),
        if good { "merged, closed, mirrored".into() } else { "not done".into() },
    ]
}
