//! Turns what is outside into events: the run's files, its session, its pull request, what people wrote. Looking has no
//! effect; the same thing seen twice is the same event, and the run ignores it.

use super::{World, claim, comments, deliver, gate, session::name_of, survey};
use crate::{
    domain::{
        gate::{Gate, NotReady, is_officially_by},
        ids::{EffectId, Sha},
        issue::OpenOrClosed,
        known::Known,
        phase::{Phase, PhaseText},
        pull_request::{PullRequest, Review, Verdict},
        redact::Redactor,
        review,
        run::{Event, Run, Session, Stage, stage::read_refusal},
        usage_limit::{self, UsageLimit},
    },
    ports::{
        forge::ForgeResult,
        run_files::{RunFiles, RunFilesResult},
        session::{HookEvent, HookKind, Liveness, PromptLine, SessionResult, Signals},
        store::StoreResult,
    },
};
use jiff::{Timestamp, tz::TimeZone};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// How the agent's program names a start that follows on a compaction.
const COMPACTED: &str = "compact";
/// Bytes of a review, with all its remarks, that the agent is told: more than people write, and what a prompt can bear.
const MOST_REVIEW_BYTES: usize = 48 * 1024;
/// Characters of an error's text that are kept.
const MESSAGE_CHARS: usize = 500;

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
pub fn hook_event(
    run: &Run,
    hook: &HookEvent,
    inbox: &std::path::Path,
    now: Timestamp,
    redactor: &Redactor,
) -> Option<Seen> {
    let (attempt, offset) = (hook.attempt, hook.offset);
    let kept = |text: &str| redactor.redact_and_cut(text, MESSAGE_CHARS);
    match &hook.kind {
        HookKind::PromptTaken { prompt } => Some(Seen {
            event: Event::PromptTaken { attempt, offset },
            completes: deliver::acknowledged(run, inbox, prompt),
            input: None,
        }),
        HookKind::TurnEnded { background_tasks, .. } => {
            Some(Seen::new(Event::TurnEnded { attempt, offset, background_tasks: *background_tasks }))
        }
        HookKind::TurnFailed { error, message } => {
            let limit = limit_of(error, message, now);
            let message = kept(message);
            Some(Seen::new(match limit {
                Some(limit) => Event::UsageLimited { attempt, offset, message, resets_at: limit.resets_at },
                None => Event::TurnFailed { attempt, error: error.to_owned(), offset, message },
            }))
        }
        HookKind::SessionStarted { source } if source == COMPACTED => {
            Some(Seen::new(Event::ContextCompacted { attempt, offset }))
        }
        HookKind::ToolRefused { what, why } => {
            Some(Seen::new(Event::ToolRefused { attempt, offset, what: kept(what), why: kept(why) }))
        }
        HookKind::SessionStarted { .. } | HookKind::SessionEnded { .. } | HookKind::Alive => None,
    }
}

/// A usage limit is told apart from errors that pass: it says in its text when it is over. Only what the program itself
/// reports as an error is read, never what the agent says: that can be anybody's words.
fn limit_of(error: &str, message: &str, now: Timestamp) -> Option<UsageLimit> {
    let zone = |name: &str| TimeZone::get(name).ok();
    [message, error].into_iter().find_map(|text| usage_limit::read(text, now, &TimeZone::system(), zone))
}

/// Returns the loss of the session, if it is lost. An error means that nobody knows, and loses nothing.
pub async fn session_loss(world: &World, run: &Run) -> SessionResult<Option<Seen>> {
    if run.session != Session::Started {
        return Ok(None);
    }
    let attempt = run.attempt;
    let restarted = !run.boot.is_empty() && run.boot != world.machine.this_process().boot_id;
    let lost = |how: &str| {
        let how = if restarted { "the machine was restarted" } else { how };
        Some(Seen::new(Event::SessionLost { attempt, how: how.to_owned(), restarted }))
    };
    Ok(match world.sessions.liveness(&name_of(run), &run.id, attempt).await? {
        Liveness::Alive => None,
        Liveness::Gone => lost("it ended by itself"),
        Liveness::Other => lost("another session has its place"),
    })
}

/// Returns whether it would be news that the screen shows an idle agent: hooks, which are all that tells, say that it is at
/// work.
pub fn may_stand_idle(world: &World, run: &Run) -> bool {
    run.busy && run.prompted && matches!(world.sessions.signals(), Signals::Hooks)
}

/// Returns what tells one screen of an idle agent from another; `None` while a turn runs, or something covers the input line.
pub async fn idle_screen(world: &World, run: &Run) -> SessionResult<Option<[u8; 32]>> {
    let screen = world.sessions.screen(&name_of(run), 0).await?;
    Ok(match world.sessions.prompt_line(&screen) {
        PromptLine::Empty | PromptLine::HalfTyped => Some(Sha256::digest(screen.as_bytes()).into()),
        PromptLine::Absent => None,
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
            return Ok(vec![Seen::new(merged(world, pull_request))]);
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

/// Returns what a merge means for the run: one into another branch is none of its issue's.
pub(super) fn merged(world: &World, pull_request: &PullRequest) -> Event {
    let number = pull_request.number;
    match pull_request.base_branch == world.project.primary_branch {
        true => Event::Merged { pull_request: number, commit: pull_request.merge_commit.clone() },
        false => Event::MergedElsewhere { pull_request: number, into: pull_request.base_branch.clone() },
    }
}

/// Returns what another head on the forge means. While a person is asked, what the agent itself pushed before is no answer.
async fn head_moved(world: &World, run: &Run, head: &Sha) -> Event {
    if let (Stage::Escalated { .. }, Some(branch)) = (&run.stage, &run.branch)
        && world.workspace.inspect(run.issue, branch).await.is_ok_and(|state| state.local == *head)
    {
        return Event::OwnPushSeen { head: head.clone() };
    }
    Event::HeadMoved { head: head.clone() }
}

/// Returns the news when something keeps an approved head from its merge, or CI has changed its mind about one that waits for
/// its reviews. Facts that are lacking come with a later look.
fn gate_held(run: &Run, head: &Sha, reasons: &[NotReady]) -> Option<Event> {
    if !matches!(run.stage, Stage::AwaitingReview { .. }) {
        return None;
    }
    let is_of_ci = |reason: &&NotReady| reason.code().starts_with("ci_");
    let waits_for_review = reasons.iter().any(|reason| {
        matches!(
            reason,
            NotReady::ReviewsUnknown(_) | NotReady::ApprovalsMissing { .. } | NotReady::ChangesRequested { .. }
        )
    });
    let counts = |reason: &&NotReady| {
        // The last two have ways of their own: the merge finds out, and people are asked.
        let is_led = matches!(reason, NotReady::NotMergeable | NotReady::PersonMissing { .. });
        !reason.is_unknown() && !is_led && (is_of_ci(reason) || !waits_for_review)
    };
    let mut held: Vec<&NotReady> = reasons.iter().filter(counts).collect();
    // CI first: what else there is will still be there when it has said its word.
    if held.iter().any(is_of_ci) {
        held.retain(is_of_ci);
    }
    let codes: BTreeSet<String> = held.iter().map(|reason| reason.code().to_owned()).collect();
    let is_known = run.gate_held.as_ref().is_some_and(|known| *known == (head.clone(), codes.clone()));
    let words = held.iter().map(|reason| reason.words()).collect::<Vec<_>>().join("; ");
    (!codes.is_empty() && !is_known).then(|| Event::GateHeld { head: head.clone(), codes, words })
}

async fn pull_request_events(world: &World, run: &Run, pull_request: PullRequest) -> ForgeResult<Vec<Seen>> {
    let mut seen = Vec::new();
    if run.head.as_ref() != Some(&pull_request.head) {
        // The order that moves the branch tells of it itself, once the worktree has followed.
        if matches!(run.stage, Stage::Rebasing { .. }) {
            return Ok(seen);
        }
        seen.push(Seen::new(head_moved(world, run, &pull_request.head).await));
        return Ok(seen);
    }
    let reviews = gate::reviews(world, &pull_request).await?;
    for review in &reviews {
        if !is_news(world, run, review, &reviews).await {
            continue;
        }
        seen.push(Seen::new(Event::ReviewReceived {
            id: review.id,
            reviewer: review.reviewer.clone(),
            verdict: review.verdict,
            commit: review.commit.clone(),
            text: review_text(review),
            findings: review::findings(review),
        }));
    }
    let may_merge = matches!(run.stage, Stage::AwaitingReview { .. } | Stage::Escalated { .. });
    if may_merge && run.green_at.as_ref() == Some(&pull_request.head) {
        let head: Sha = pull_request.head.clone();
        let subject = gate::Subject {
            pull_request,
            reviews: Known::Known(reviews),
            issue: Some(run.issue),
            journaled_green: run.green_at.as_ref(),
            accepted: run.accepted.clone(),
        };
        match gate::judge(world, subject).await {
            Gate::Ready(_) => seen.push(Seen::new(Event::GatePassed { head })),
            Gate::NotReady(reasons) => {
                // "Not mergeable" alone may be a forge that still computes, or a conflict: the merge finds out which.
                if let [only] = reasons.as_slice()
                    && only.code() == "not_mergeable"
                {
                    seen.push(Seen::new(Event::GatePassed { head: head.clone() }));
                }
                let asked = run.person_wanted.as_ref().is_some_and(|wanted| wanted.head == head);
                seen.extend(gate_held(run, &head, &reasons).map(Seen::new));
                if let Some(NotReady::PersonMissing { files }) = reasons.first().filter(|_| !asked) {
                    seen.push(Seen::new(Event::PersonWanted { head, files: files.clone() }));
                }
            }
        }
    }
    Ok(seen)
}

async fn is_news(world: &World, run: &Run, review: &Review, reviews: &[Review]) -> bool {
    if run.seen_reviews.contains(&review.id) || review.dismissed || review.reviewer.is(&world.project.forge.bot) {
        return false;
    }
    // Anybody can review on a public forge; the agent hears only those whose word counts there.
    let reviewers = &world.project.review.reviewers;
    let counts = review.official || reviewers.iter().any(|reviewer| reviewer.is(&review.reviewer));
    match review.verdict {
        Verdict::Approved | Verdict::ChangesRequested => counts || is_officially_by(review, reviews),
        Verdict::Comment if review::findings(review).is_empty() => false,
        // Forges call no comment official: where nobody is named as a reviewer, whoever may write is heard.
        Verdict::Comment => counts || reviewers.is_empty() && is_by_colleague(world, review).await,
        Verdict::None => false,
    }
}

/// Returns whether a review is by a person who may write to the repository. Who cannot be judged now is asked about again with
/// the next look.
async fn is_by_colleague(world: &World, review: &Review) -> bool {
    let is_bot = world.project.review.bots.iter().any(|bot| bot.is(&review.reviewer));
    !is_bot && world.forge.can_write(&review.reviewer).await.unwrap_or(false)
}

fn review_text(review: &Review) -> String {
    let mut text = review.body.trim().to_owned();
    for comment in review.comments.iter().filter(|comment| !comment.resolved) {
        text.push_str(&format!("\n\n{}, line {}:\n{}", comment.path, comment.line, comment.body.trim()));
    }
    if text.len() > MOST_REVIEW_BYTES {
        text.truncate(text.floor_char_boundary(MOST_REVIEW_BYTES));
        text.push_str("\n\n[the rest is left out; read it on the forge]");
    }
    text
}

/// What people say to the agent: comments after the claim that address the bot, by accounts that may write to the
/// repository. Their order is told by their numbers; the forge's clock is not this machine's.
async fn replies(world: &World, run: &Run) -> ForgeResult<Vec<Seen>> {
    let mut seen = Vec::new();
    let comments = world.forge.comments(run.issue.0).await?;
    let Some(since) = claim::comment_of(world, &comments, run) else { return Ok(seen) };
    let asked_by = run
        .person_wanted
        .as_ref()
        .and_then(|wanted| comments::marked(world, &comments, &wanted.asked).first().map(|asking| asking.id));
    for comment in comments {
        let id = format!("comment-{}", comment.id);
        let news = comment.id > since && !run.seen_replies.contains(&id);
        let Some(text) = comment.said_to(&world.project.forge.bot).map(str::to_owned) else { continue };
        if !news || comment.author.is(&world.project.forge.bot) {
            continue;
        }
        let approval = approval(&text);
        if approval.is_some() && world.project.review.bots.iter().any(|bot| bot.is(&comment.author)) {
            continue;
        }
        // Who cannot be judged now is asked about again with the next look; the rest of the look stands.
        if world.forge.can_write(&comment.author).await.unwrap_or(false) {
            if let Some(named) = approval {
                let who = comment.author.to_string();
                seen.push(Seen::new(match accepts(run, named, asked_by, comment.id) {
                    Some(head) => Event::HumanAccepted { id, who, head },
                    None => Event::AcceptanceRefused { id, who },
                }));
                continue;
            }
            seen.push(Seen::new(Event::HumanReplied { id, who: comment.author.to_string(), text }));
        }
    }
    Ok(seen)
}

/// Returns what follows `approve` when that is all that a comment says: nothing, or the beginning of a commit.
fn approval(text: &str) -> Option<Option<&str>> {
    let mut words = text.trim_end_matches(['.', '!']).split_whitespace();
    let is_word = words.next().is_some_and(|word| word.eq_ignore_ascii_case("approve"));
    let named = words.next();
    let is_commit = named.is_none_or(|named| named.len() >= 7 && named.bytes().all(|byte| byte.is_ascii_hexdigit()));
    (is_word && is_commit && words.next().is_none()).then_some(named)
}

/// Returns the commit that a comment accepts. One that names none means what was asked about before it: not a commit that
/// its writer cannot have seen.
fn accepts(run: &Run, named: Option<&str>, asked_by: Option<u64>, comment: u64) -> Option<Sha> {
    let wanted = run.person_wanted.as_ref()?;
    let is_meant = match named {
        Some(named) => wanted.is_at(named),
        None => asked_by.is_some_and(|asking| asking < comment),
    };
    is_meant.then(|| wanted.head.clone())
}

/// Takes what was queued for the run from outside the driver.
pub async fn inputs(world: &World, run: &Run) -> StoreResult<Vec<Seen>> {
    let mut seen = Vec::new();
    for input in world.store.waiting_inputs(&run.id).await? {
        match serde_json::from_value::<Event>(input.body) {
            Ok(event) => seen.push(Seen { event, completes: None, input: Some(input.id) }),
            Err(error) => {
                tracing::error!(run = %run.id, input = input.id, kind = input.kind, %error, "an input makes no sense and is dropped");
                world.store.drop_inputs(&run.id, &[input.id]).await?;
            }
        }
    }
    Ok(seen)
}
