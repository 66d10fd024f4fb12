//! Turns what is outside into events: the run's files, its session, its pull request, what people wrote. Looking has no
//! effect; the same thing seen twice is the same event, and the run ignores it.

use super::{World, claim, deliver, gate, session::name_of, survey};
use crate::{
    domain::{
        ci::CiVerdict,
        gate::Gate,
        ids::{EffectId, Sha},
        issue::OpenOrClosed,
        known::Known,
        phase::{Phase, PhaseText},
        pull_request::{PullRequest, Review, Verdict},
        run::{Event, Run, Session, Stage, stage::read_refusal},
    },
    ports::{
        forge::ForgeResult,
        run_files::{RunFiles, RunFilesResult},
        session::{HookEvent, HookKind, Liveness, SessionResult},
        store::{Input, StoreResult},
    },
};

/// An event with the order that it answers and the input that it was.
#[derive(Debug, Clone)]
pub struct Seen {
    pub event: Event,
    pub completes: Option<EffectId>,
    pub input: Option<i64>,
}

impl Seen {
    pub fn new(event: Event) -> Self {
        Self { event, completes: None, input: None }
    }
}

/// Reads the phases that the present attempt has written. Done before hooks are read, so that nothing is concluded from
/// a stop while the phase that explains it is unread.
pub fn phases(run: &Run, files: &dyn RunFiles) -> RunFilesResult<Vec<Seen>> {
    if run.session != Session::Started {
        return Ok(Vec::new());
    }
    let attempt = run.attempt;
    let sightings = files.phases(attempt)?;
    let unseen =
        sightings.into_iter().filter(|sighting| !run.seen_sightings.contains(&format!("{attempt}:{}", sighting.id)));
    Ok(unseen
        .filter_map(|sighting| match sighting.text {
            PhaseText::Nothing => None,
            PhaseText::Report(report) => {
                let refusal = (report.phase == Phase::Failed).then(|| read_refusal(&files.summary(attempt))).flatten();
                Some(Seen::new(Event::PhaseReported { attempt, report, sighting: sighting.id, refusal }))
            }
            PhaseText::Malformed(unknown) => {
                Some(Seen::new(Event::PhaseMalformed { attempt, word: unknown.word, sighting: sighting.id }))
            }
        })
        .collect())
}

/// Reads the hooks behind `from`, those of the present attempt, and moves `from` behind what was read. A driver begins
/// behind what the journal has taken in.
pub fn hooks(run: &Run, files: &dyn RunFiles, from: &mut Option<u64>) -> RunFilesResult<Vec<HookEvent>> {
    if run.session != Session::Started {
        return Ok(Vec::new());
    }
    let read = files.hooks(from.unwrap_or(run.hooks_offset))?;
    *from = Some(read.next);
    Ok(read.events.into_iter().filter(|hook| hook.attempt == run.attempt).collect())
}

/// Returns what a hook means for the run, if it means anything.
pub fn hook_event(run: &Run, hook: &HookEvent, inbox: &std::path::Path) -> Option<Seen> {
    let (attempt, offset) = (hook.attempt, hook.offset);
    match &hook.kind {
        HookKind::PromptTaken { prompt } => Some(Seen {
            event: Event::PromptTaken { attempt, offset },
            completes: deliver::acknowledged(run, inbox, prompt),
            input: None,
        }),
        HookKind::TurnEnded { background_tasks, .. } => {
            Some(Seen::new(Event::TurnEnded { attempt, offset, background_tasks: *background_tasks }))
        }
        HookKind::TurnFailed { error } => Some(Seen::new(Event::TurnFailed { attempt, error: error.clone(), offset })),
        HookKind::SessionStarted { .. } | HookKind::SessionEnded { .. } | HookKind::Alive => None,
    }
}

/// Returns the loss of the session, if it is lost. An error means that nobody knows, and loses nothing.
pub async fn session_loss(world: &World, run: &Run) -> SessionResult<Option<Seen>> {
    if run.session != Session::Started {
        return Ok(None);
    }
    let attempt = run.attempt;
    Ok(match world.sessions.liveness(&name_of(run), &run.id, attempt).await? {
        Liveness::Alive => None,
        Liveness::Gone => Some(Seen::new(Event::SessionLost { attempt, how: "it ended by itself".into() })),
        Liveness::Other => Some(Seen::new(Event::SessionLost { attempt, how: "another session has its place".into() })),
    })
}

/// Looks at the issue and the pull request. What is certain comes first: merged, closed, moved; then reviews; then the gate.
pub async fn forge(world: &World, run: &Run) -> ForgeResult<Vec<Seen>> {
    let mut seen = Vec::new();
    let issue = world.forge.issue(run.issue).await?;
    let pull_request = match run.pull_request {
        Some(number) => Some(world.forge.pull_request(number).await?),
        None => None,
    };
    if let Some(pull_request) = &pull_request {
        if pull_request.merged {
            let commit = pull_request.merge_commit.clone();
            return Ok(vec![Seen::new(Event::Merged { pull_request: pull_request.number, commit })]);
        }
        if pull_request.state == OpenOrClosed::Closed {
            return Ok(vec![Seen::new(Event::PullRequestClosed { pull_request: pull_request.number })]);
        }
    }
    if issue.state == OpenOrClosed::Closed {
        // The answer to opening the pull request may have been lost, and a tick may have merged it since.
        let merged = match run.pull_request {
            Some(_) => None,
            None => survey::own_pull_request(world, run).await?.filter(|own| own.merged),
        };
        return Ok(vec![Seen::new(match merged {
            Some(own) => Event::Merged { pull_request: own.number, commit: own.merge_commit },
            None => Event::IssueClosed,
        })]);
    }
    if let Some(pull_request) = pull_request {
        seen.extend(pull_request_events(world, run, pull_request).await?);
    }
    seen.extend(replies(world, run).await?);
    Ok(seen)
}

async fn pull_request_events(world: &World, run: &Run, pull_request: PullRequest) -> ForgeResult<Vec<Seen>> {
    let mut seen = Vec::new();
    if run.head.as_ref() != Some(&pull_request.head) {
        seen.push(Seen::new(Event::HeadMoved { head: pull_request.head.clone() }));
        return Ok(seen);
    }
    let reviews = gate::reviews(world, &pull_request).await?;
    for review in reviews.iter().filter(|review| is_news(world, run, review)) {
        seen.push(Seen::new(Event::ReviewReceived {
            id: review.id,
            reviewer: review.reviewer.clone(),
            verdict: review.verdict,
            commit: review.commit.clone(),
            text: review_text(review),
        }));
    }
    let may_merge = matches!(run.stage, Stage::AwaitingReview { .. } | Stage::Escalated { .. });
    if may_merge && run.green_at.as_ref() == Some(&pull_request.head) {
        let head: Sha = pull_request.head.clone();
        // Asked anew at the merge itself; here the journal's word is enough to try.
        let ci = Known::Known((head.clone(), CiVerdict::Green));
        let snapshot = gate::snapshot(world, pull_request, ci, Known::Known(reviews), Some(run.issue));
        match crate::domain::gate::gate(&snapshot) {
            Gate::Ready(_) => seen.push(Seen::new(Event::GatePassed { head })),
            Gate::NotReady(reasons) => {
                // "Not mergeable" alone may be a forge that still computes, or a conflict: the merge finds out which.
                if let [only] = reasons.as_slice()
                    && only.code() == "not_mergeable"
                {
                    seen.push(Seen::new(Event::GatePassed { head }));
                }
            }
        }
    }
    Ok(seen)
}

fn is_news(world: &World, run: &Run, review: &Review) -> bool {
    if run.seen_reviews.contains(&review.id) || review.dismissed || review.reviewer.is(&world.project.forge.bot) {
        return false;
    }
    // Anybody can review on a public forge; the agent hears only those whose word counts there.
    let configured = world.project.review.reviewers.iter().any(|reviewer| reviewer.is(&review.reviewer));
    if !configured && !review.official {
        return false;
    }
    match review.verdict {
        Verdict::Approved | Verdict::ChangesRequested => true,
        Verdict::Comment => !review.body.trim().is_empty() || !review.comments.is_empty(),
        Verdict::None => false,
    }
}

fn review_text(review: &Review) -> String {
    let mut text = review.body.trim().to_owned();
    for comment in &review.comments {
        text.push_str(&format!("\n\n{}, line {}:\n{}", comment.path, comment.line, comment.body.trim()));
    }
    text
}

/// What people say to the agent: comments after the claim that address the bot, by accounts that may write to the
/// repository. Their order is told by their numbers; the forge's clock is not this machine's.
async fn replies(world: &World, run: &Run) -> ForgeResult<Vec<Seen>> {
    let address = format!("@{}", world.project.forge.bot).to_lowercase();
    let mut seen = Vec::new();
    let comments = world.forge.comments(run.issue.0).await?;
    let Some(since) = claim::comment_of(world, &comments, run) else { return Ok(seen) };
    for comment in comments {
        let id = format!("comment-{}", comment.id);
        let body = comment.body.trim();
        let addressed = body.get(..address.len()).is_some_and(|start| start.to_lowercase() == address);
        let news = comment.id > since && !run.seen_replies.contains(&id);
        if !addressed || !news || comment.author.is(&world.project.forge.bot) {
            continue;
        }
        // Who cannot be judged now is asked about again with the next look; the rest of the look stands.
        if world.forge.can_write(&comment.author).await.unwrap_or(false) {
            let text = body[address.len()..].trim_start_matches([':', ',']).trim().to_owned();
            seen.push(Seen::new(Event::HumanReplied { id, who: comment.author.to_string(), text }));
        }
    }
    Ok(seen)
}

/// Takes what was queued for the run from outside the driver.
pub async fn inputs(world: &World, run: &Run) -> StoreResult<Vec<Seen>> {
    let waiting = world.store.waiting_inputs(&run.id).await?;
    Ok(waiting.into_iter().filter_map(input_event).collect())
}

fn input_event(input: Input) -> Option<Seen> {
    match serde_json::from_value::<Event>(input.body.clone()) {
        Ok(event) => Some(Seen { event, completes: None, input: Some(input.id) }),
        Err(error) => {
            tracing::error!(input = input.id, kind = input.kind, %error, "an input makes no sense and is left");
            None
        }
    }
}
