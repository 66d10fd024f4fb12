//! Pushing the primary branch and the tags to a mirror, never forced. A mirror that hangs, is missing or has gone its own
//! way is an answer, not an error: it must not hold up anything else.

use super::git::{GitWorkspace, mirror_command as command};
use crate::{
    domain::ids::Sha,
    ports::workspace::{MirrorPush, WorkspaceError, WorkspaceResult},
};

/// One line of `git push --porcelain`: what became of one ref.
#[derive(Debug, PartialEq, Eq)]
struct PushedRef<'a> {
    rejected: bool,
    /// Name on the mirror.
    name: &'a str,
    why: &'a str,
}

/// Pushes to one mirror. An error means that rig's own side failed: the forge does not give the commit.
pub(super) async fn push(workspace: &GitWorkspace, name: &str, url: &str, commit: &Sha) -> WorkspaceResult<MirrorPush> {
    workspace.ensure_for_mirror(commit).await?;
    let primary = workspace.primary_ref();
    let what = format!("pushing to mirror `{name}` ({})", command::address(url));
    let before = match workspace.mirror_tip(name, url).await {
        Ok(tip) => tip,
        Err(error) => return Ok(MirrorPush::Failed(format!("{what}: {error}"))),
    };
    let call = workspace.mirror_call(name, url).timeout(workspace.transfer_limit(before.is_none()));
    let call = call.args(["push", "--porcelain", "--no-verify", "--end-of-options"]);
    let call = call.arg(command::address(url)).arg(format!("{commit}:{primary}")).arg("refs/tags/*:refs/tags/*");
    let output = match call.run().await {
        Ok(output) => output,
        Err(error) => return Ok(MirrorPush::Failed(command::told(&what, error))),
    };
    if output.status.success() {
        return Ok(MirrorPush::At(commit.clone()));
    }
    let report = output.text();
    let rejected: Vec<_> = report.lines().filter_map(pushed_ref).filter(|pushed| pushed.rejected).collect();
    if rejected.is_empty() {
        return Ok(MirrorPush::Failed(format!("{what}: {}", command::brief(&output.error_text()))));
    }
    if rejected.iter().any(|pushed| pushed.name == primary && is_divergence(pushed.why)) {
        return Ok(judge_branch(workspace, (name, url), commit, &what).await);
    }
    let told: Vec<String> = rejected.iter().map(|pushed| format!("{} {}", pushed.name, pushed.why)).collect();
    let told = format!("{what}: {}", command::brief(&told.join(", ")));
    // The branch may be there while a tag of the same name is another one on the mirror.
    let all_diverged = rejected.iter().all(|pushed| is_divergence(pushed.why));
    Ok(if all_diverged { MirrorPush::Diverged(told) } else { MirrorPush::Failed(told) })
}

/// Tells a mirror that another push has taken further along the primary branch from one that has gone its own way.
async fn judge_branch(workspace: &GitWorkspace, (name, url): (&str, &str), commit: &Sha, what: &str) -> MirrorPush {
    match workspace.mirror_tip(name, url).await {
        Ok(Some(tip)) => match workspace.is_on_the_way(commit, &tip).await {
            Ok(true) => MirrorPush::At(tip),
            Ok(false) => MirrorPush::Diverged(format!(
                "{what}: its branch is at {}, which is not part of the primary branch; nothing was forced",
                tip.short()
            )),
            Err(error) => MirrorPush::Failed(error.to_string()),
        },
        Ok(None) => MirrorPush::Failed(format!("{what}: the push was refused, and the branch is not there")),
        Err(WorkspaceError::Unavailable { what, message } | WorkspaceError::Failed { what, message }) => {
            MirrorPush::Failed(format!("{what}: {message}"))
        }
    }
}

fn pushed_ref(line: &str) -> Option<PushedRef<'_>> {
    let mut fields = line.split('\t');
    let (flag, refs, why) = (fields.next()?, fields.next()?, fields.next()?);
    let (_, name) = refs.split_once(':')?;
    Some(PushedRef { rejected: flag == "!", name, why })
}

fn is_divergence(why: &str) -> bool {
    ["non-fast-forward", "fetch first", "already exists", "needs force", "stale info"]
        .iter()
        .any(|sign| why.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_ref_by_ref() {
        let pushed = pushed_ref("!\tabc:refs/heads/main\t[rejected] (fetch first)").unwrap();
        assert_eq!(pushed, PushedRef { rejected: true, name: "refs/heads/main", why: "[rejected] (fetch first)" });
        assert!(is_divergence(pushed.why));
        assert!(!pushed_ref("*\trefs/tags/v1:refs/tags/v1\t[new tag]").unwrap().rejected);
        assert_eq!(pushed_ref("To /srv/mirror.git"), None);
        assert!(!is_divergence("[remote rejected] (pre-receive hook declined)"));
    }
}
