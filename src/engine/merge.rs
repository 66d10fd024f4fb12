//! Merges a pull request: judged once more under the merge lock, named by the commit that was judged, and read back.
//! After any answer but success the pull request is read again before anything is concluded.

use super::{World, gate, observe};
use crate::{
    domain::{
        gate::{Acceptance, Gate, NotReady},
        ids::{IssueNumber, PullRequestNumber, Sha},
        issue::OpenOrClosed,
        known::Known,
        merge_words,
        pull_request::PullRequest,
        run::{Event, MergeRefusal, WhenBehind},
    },
    ports::{
        forge::{ForgeError, MergeRequest, MergeStyle},
        lock::{LockError, LockName},
    },
};
use std::time::Duration;

/// Longest wait for another process that merges in the same repository.
const LOCK_WAIT: Duration = Duration::from_secs(30);
/// Times that `mergeable` is asked for before "no" is believed: forges say no while they still compute it.
const SETTLE_TRIES: u32 = 12;
/// Pause between them; grows with each.
const SETTLE_PAUSE: Duration = Duration::from_millis(60);

#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    #[error(transparent)]
    Forge(#[from] ForgeError),
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl MergeError {
    /// Returns whether the same may succeed later without anyone's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Forge(error) => error.is_transient(),
            Self::Lock(LockError::Held { .. }) => true,
            Self::Lock(LockError::Failed { .. }) => false,
        }
    }
}

/// What is to be merged.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    pub pull_request: PullRequestNumber,
    /// The commit that the gate passed.
    pub head: &'a Sha,
    pub issue: Option<IssueNumber>,
    /// A run leads it, which would see to CI and review again.
    pub is_led: bool,
    pub journaled_green: Option<&'a Sha>,
    /// What people have accepted by their word to rig.
    pub accepted: &'a [Acceptance],
}

/// Judges and merges. Returns what the pull request came to, as an event of its run.
pub async fn judge_and_merge(world: &World, wanted: &Wanted<'_>) -> Result<Event, MergeError> {
    let _merging = world.locks.take(LockName::Merge, LOCK_WAIT).await?;
    let pull_request = settled(world, wanted.pull_request).await?;
    if let Some(event) = decided_elsewhere(world, &pull_request, wanted.head) {
        return Ok(event);
    }
    let refused = |why: MergeRefusal| Ok(Event::MergeRefused { head: wanted.head.clone(), why });
    let reviews = gate::reviews(world, &pull_request).await?;
    let request = request(world, wanted, &pull_request);
    let subject = gate::Subject {
        pull_request,
        reviews: Known::Known(reviews),
        issue: wanted.issue,
        journaled_green: wanted.journaled_green,
        accepted: wanted.accepted.to_vec(),
    };
    match gate::judge(world, subject).await {
        Gate::Ready(ready) if ready.head() == wanted.head => {}
        Gate::Ready(_) => return refused(MergeRefusal::NotReady { reasons: vec!["the head has moved".into()] }),
        Gate::NotReady(reasons) if is_only_unmergeable(&reasons) => return refused(conflict(world, wanted.head).await),
        Gate::NotReady(reasons) => {
            let words: Vec<String> = reasons.iter().map(NotReady::words).collect();
            // What could not be found out may be known a moment later; it says nothing against the pull request.
            return refused(match reasons.iter().all(NotReady::is_unknown) {
                true => MergeRefusal::TryAgain { message: words.join("; ") },
                false => MergeRefusal::NotReady { reasons: words },
            });
        }
    }
    if let Some(why) = outdated(world, wanted).await {
        return refused(why);
    }
    let answer = world.forge.merge(wanted.pull_request, &request).await;
    let after = settled(world, wanted.pull_request).await?;
    if let Some(event) = decided_elsewhere(world, &after, wanted.head) {
        return Ok(event);
    }
    match answer {
        // The forge said yes and shows no merge: never taken for success.
        Ok(()) => refused(MergeRefusal::TryAgain { message: "the merge was accepted but is not shown".into() }),
        Err(error) if error.is_transient() => match error.to_string() {
            // A real forge answers so with 500, as if it had failed; nothing has happened.
            text if text.contains("open dependencies") => refused(MergeRefusal::Protected { message: text }),
            text if text.contains("diverg") => refused(MergeRefusal::Outdated { message: text }),
            _ => Err(error.into()),
        },
        Err(ForgeError::Refused { status: 409, message, .. }) if is_gits_conflict(&message) && after.mergeable => {
            refused(MergeRefusal::Outdated { message })
        }
        Err(ForgeError::Refused { message, .. }) => match refusal_of(&message) {
            MergeRefusal::TryAgain { .. } if !after.mergeable => refused(conflict(world, wanted.head).await),
            why => refused(why),
        },
        Err(_) if !after.mergeable => refused(conflict(world, wanted.head).await),
        Err(error) => refused(MergeRefusal::Protected { message: error.to_string() }),
    }
}

/// Reads the pull request until the forge has made up its mind whether it can be merged.
async fn settled(world: &World, number: PullRequestNumber) -> Result<PullRequest, ForgeError> {
    let mut tries = 0;
    loop {
        let pull_request = world.forge.pull_request(number).await?;
        let undecided = pull_request.state == OpenOrClosed::Open && !pull_request.mergeable && !pull_request.draft;
        tries += 1;
        if !undecided || tries >= SETTLE_TRIES {
            return Ok(pull_request);
        }
        tokio::time::sleep(SETTLE_PAUSE * tries).await;
    }
}

/// Returns the event when the pull request is no longer what was judged.
fn decided_elsewhere(world: &World, pull_request: &PullRequest, head: &Sha) -> Option<Event> {
    if pull_request.merged {
        return Some(observe::merged(world, pull_request));
    }
    if pull_request.state == OpenOrClosed::Closed {
        return Some(Event::PullRequestClosed { pull_request: pull_request.number });
    }
    (pull_request.head != *head).then(|| Event::HeadMoved { head: pull_request.head.clone() })
}

/// Returns whether nothing but its mergeability keeps a pull request from being merged.
fn is_only_unmergeable(reasons: &[NotReady]) -> bool {
    matches!(reasons, [only] if only.code() == "not_mergeable")
}

/// Asks git whether there is a conflict: forges say "not mergeable" for as long as they compute it.
async fn conflict(world: &World, head: &Sha) -> MergeRefusal {
    let unsettled = |message: &str| MergeRefusal::TryAgain { message: message.to_owned() };
    match world.workspace.conflicts(head).await {
        Ok(true) => MergeRefusal::Conflict,
        Ok(false) => unsettled("the forge has not made up its mind, and git sees no conflict"),
        Err(error) if error.is_transient() => unsettled(&error.to_string()),
        // Where git cannot tell, the forge's word is all there is.
        Err(_) => MergeRefusal::Conflict,
    }
}

/// Returns whether these are git's words on commits that cannot be put onto the primary branch one by one, although a merge
/// would succeed.
fn is_gits_conflict(message: &str) -> bool {
    message.contains("CONFLICT") || message.contains("could not apply")
}

/// Returns the refusal when the project wants branches up to date and this one is not. What no run leads is merged as it is:
/// nobody would see to its CI and its review again.
async fn outdated(world: &World, wanted: &Wanted<'_>) -> Option<MergeRefusal> {
    if world.project.merge.when_behind == WhenBehind::AsIs || !wanted.is_led {
        return None;
    }
    match world.workspace.is_behind(wanted.head).await {
        Ok(false) => None,
        Ok(true) => Some(MergeRefusal::Outdated { message: format!("{} has moved on", world.project.primary_branch) }),
        Err(error) => Some(MergeRefusal::TryAgain { message: error.to_string() }),
    }
}

/// Puts together what is asked of the forge: the judged commit, and the project's words where it has any.
fn request(world: &World, wanted: &Wanted<'_>, pull_request: &PullRequest) -> MergeRequest {
    let merge = &world.project.merge;
    let issue = wanted.issue.map(|issue| issue.0);
    let redacted = |text: String| world.redactor.redact(&text).into_owned();
    MergeRequest {
        head: wanted.head.clone(),
        style: style(world),
        title: redacted(merge_words::title(&merge.title, pull_request, issue)),
        message: redacted(merge_words::message(&merge.message, pull_request, issue)),
    }
}

/// Reads the forge's words where its status code says too little: what will pass with time is told from what will not.
fn refusal_of(message: &str) -> MergeRefusal {
    let text = message.to_lowercase();
    if text.contains("behind the base") || text.contains("outdated branch") {
        return MergeRefusal::Outdated { message: message.to_owned() };
    }
    let waits = ["approval", "status check", "requested changes", "review", "work in progress"];
    if waits.iter().any(|word| text.contains(word)) {
        return MergeRefusal::NotReady { reasons: vec![message.to_owned()] };
    }
    if text.contains("protected") || text.contains("not allowed") {
        return MergeRefusal::Protected { message: message.to_owned() };
    }
    MergeRefusal::TryAgain { message: message.to_owned() }
}

fn style(world: &World) -> MergeStyle {
    use crate::config::settings::MergeMethod;
    match world.project.merge.method {
        MergeMethod::Merge => MergeStyle::Merge,
        MergeMethod::Rebase => MergeStyle::Rebase,
        MergeMethod::RebaseMerge => MergeStyle::RebaseMerge,
        MergeMethod::Squash => MergeStyle::Squash,
        MergeMethod::FastForwardOnly => MergeStyle::FastForwardOnly,
    }
}
