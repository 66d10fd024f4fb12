//! What the agent and the forge are told: texts rendered from facts, nothing else.

use super::{
    ci::FailedStep,
    ids::{Login, PullRequestNumber, Sha},
    issue::{Comment, Issue},
    marker,
    pull_request::Verdict,
    run::Refusal,
};
use regex::Regex;
use std::{fmt::Write, sync::LazyLock};

/// Longest quotation of one outside text in a prompt, in characters: some pages, far below the agent's limits.
const QUOTE_CHARS: usize = 20_000;

/// Everything that the first prompt of an attempt is made of.
#[derive(Debug, Clone)]
pub struct FirstPrompt<'a> {
    pub issue: &'a Issue,
    /// Comments of people; bots are left out by the caller.
    pub comments: &'a [Comment],
    /// Titles of other open issues of the queue, so that the agent leaves their work alone.
    pub other_issues: &'a [(u64, String)],
    pub repository: &'a str,
    pub branch: &'a str,
    pub primary_branch: &'a str,
    /// The run's pull request, if it is open already.
    pub pull_request: Option<PullRequestNumber>,
    /// Number and bounded diff of earlier pull requests.
    pub prior_art: &'a [(PullRequestNumber, String)],
    pub scratch: &'a str,
    /// Present when an earlier attempt of this run ended early.
    pub recovery: Option<Recovery<'a>>,
    /// Texts of messages that wait to be carried out, oldest first.
    pub messages: &'a [String],
}

/// What a new attempt has to know of the one before.
#[derive(Debug, Clone)]
pub struct Recovery<'a> {
    pub diff_stat: &'a str,
    pub last_phase: &'a str,
    pub escalations: &'a [String],
}

/// Renders the first prompt of an attempt.
pub fn first_prompt(prompt: &FirstPrompt<'_>) -> String {
    let mut text = format!(
        "You work on issue #{} of {}. You are on branch {} in a worktree of your own; the primary branch is {}.\n\n",
        prompt.issue.number.0, prompt.repository, prompt.branch, prompt.primary_branch
    );
    section(
        &mut text,
        "The issue",
        &format!("Title: {}\nBy: {}\n\n{}", prompt.issue.title, prompt.issue.author, prompt.issue.body),
    );
    for comment in prompt.comments {
        section(&mut text, &format!("Comment by {}", comment.author), &comment.body);
    }
    if !prompt.other_issues.is_empty() {
        let list: String = prompt.other_issues.iter().map(|(number, title)| format!("#{number} {title}\n")).collect();
        section(&mut text, "Other open issues (leave their work alone)", &list);
    }
    for (number, diff) in prompt.prior_art {
        section(&mut text, &format!("Earlier pull request {number} for this issue (for information)"), diff);
    }
    if !prompt.scratch.trim().is_empty() {
        section(&mut text, "Notes of the last attempt", prompt.scratch);
    }
    if let Some(recovery) = &prompt.recovery {
        section(&mut text, "This is a new attempt", &recovery_text(recovery));
    }
    if let Some(number) = prompt.pull_request {
        let _ = writeln!(text, "Pull request {number} for this branch exists already. Do not open another one.\n");
    }
    for message in prompt.messages {
        section(&mut text, "To be done now", message);
    }
    text.push_str(&protocol());
    text
}

fn recovery_text(recovery: &Recovery<'_>) -> String {
    let mut text = String::from(
        "An earlier attempt on this issue ended early; its work is in the worktree. Look at it first and go on from there.\n",
    );
    if !recovery.last_phase.is_empty() {
        let _ = writeln!(text, "Its last phase was {}.", recovery.last_phase);
    }
    if !recovery.diff_stat.trim().is_empty() {
        let _ = writeln!(text, "What the branch changes so far:\n{}", recovery.diff_stat);
    }
    for reason in recovery.escalations {
        let _ =
            writeln!(text, "A person was asked before, because: {reason}. Do not escalate again for the same reason.");
    }
    text
}

/// Renders the instructions and the phase protocol; also put back after the agent's context was compacted.
pub fn protocol() -> String {
    "## How to work\n\
     - Make the change that the issue asks for, with tests, in small commits on this branch, and push it: git push -u origin HEAD\n\
     - Do not open, merge or close pull requests or issues; that is done for you. Stay on this branch and in this folder.\n\
     - Keep notes for a later attempt in the file $SCRATCH_FILE when the work is long.\n\
     - Write what you did into the file $SUMMARY_FILE, in a few lines; it becomes the text of the pull request.\n\n\
     ## Phases\n\
     Tell how far you are by writing one line into the file $PHASE_FILE, then stop and wait for the next message:\n\
     - echo \"PHASE:awaiting_ci\" > \"$PHASE_FILE\"      the branch is pushed and ready for CI (each time after a push)\n\
     - echo \"PHASE:awaiting_review\" > \"$PHASE_FILE\"  CI has passed, or nothing was left to change\n\
     - printf 'PHASE:escalate\\nReason: %s\\n' \"...\" > \"$PHASE_FILE\"  you need a decision of a person; then wait for the answer\n\
     - echo \"PHASE:done\" > \"$PHASE_FILE\"             the pull request is merged\n\
     - printf 'PHASE:failed\\nReason: %s\\n' \"...\" > \"$PHASE_FILE\"    you cannot go on\n\
     Never stop without having written a phase.\n\n\
     ## Refusing\n\
     You may refuse the issue. Write `Refusal: too_large`, `Refusal: unmet_dependency` or `Refusal: already_done` as the first line of\n\
     $SUMMARY_FILE and the reason below it, then write PHASE:failed.\n"
        .to_owned()
}

/// Renders the one line that is typed into the session for a message that lies in a file.
pub fn typed_line(file: &str) -> String {
    format!("Read {file} and carry it out.")
}

pub(super) fn nudge() -> String {
    format!(
        "You stopped without writing a phase. Go on with the work, or write the phase that holds now.\n\n{}",
        protocol()
    )
}

/// Tells people what stands on the screen of an agent that never took its first prompt.
pub(super) fn not_ready(screen: &str) -> String {
    let lines: Vec<&str> = screen.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.is_empty() {
        true => "the agent did not become ready, and its screen is empty".to_owned(),
        false => format!("the agent did not become ready; its screen says: {}", lines.join(" / ")),
    }
}

pub(super) fn turn_failed(error: &str) -> String {
    format!("Your last turn was cut off by an error of the service ({}). Go on where you were.\n", quote(error))
}

pub(super) fn usage_limit_over() -> String {
    "Your last turn was cut off by a usage limit, which is over now. Go on where you were.\n".to_owned()
}

pub(super) fn broken_off() -> String {
    format!(
        "Your last turn was broken off before you wrote a phase. Go on where you were, or write the phase that holds now.\n\n{}",
        protocol()
    )
}

pub(super) fn unknown_phase(word: &str) -> String {
    format!("The phase file says `{}`, which is no phase.\n\n{}", quote(word), protocol())
}

pub(super) fn branch_without_commits(base: &Sha, uncommitted: u32) -> String {
    format!(
        "The branch has no commit beyond the primary branch ({}).{} Commit the work, push the branch, then write PHASE:awaiting_ci again.\n",
        base.short(),
        uncommitted_text(uncommitted)
    )
}

pub(super) fn branch_not_pushed(local: &Sha, remote: Option<&Sha>, uncommitted: u32) -> String {
    let there = remote
        .map_or_else(|| "the branch is not there at all".to_owned(), |sha| format!("it is at {} there", sha.short()));
    format!(
        "Your branch is at {} here, but on the remote {there}.{} Push it (git push -u origin HEAD), then write PHASE:awaiting_ci again.\n",
        local.short(),
        uncommitted_text(uncommitted)
    )
}

pub(super) fn head_not_moved(head: &Sha, uncommitted: u32) -> String {
    format!(
        "The branch is still at {}, where CI failed.{} Commit and push a fix, then write PHASE:awaiting_ci again.\n",
        head.short(),
        uncommitted_text(uncommitted)
    )
}

fn uncommitted_text(uncommitted: u32) -> String {
    if uncommitted == 0 {
        String::new()
    } else {
        format!(" There are {uncommitted} files with changes that are not committed.")
    }
}

pub(super) fn ci_passed(head: &Sha, pull_request: Option<PullRequestNumber>) -> String {
    let number = pull_request.map(|number| format!(" of pull request {number}")).unwrap_or_default();
    format!(
        "CI passed at {}{number}. Nothing is to be changed now: write PHASE:awaiting_review and wait for the review.\n",
        head.short()
    )
}

/// Failed steps that are told with their logs: what fails everywhere mostly has one cause.
const MOST_FAILURES: usize = 8;

pub(super) fn ci_failed(head: &Sha, steps: &[FailedStep]) -> String {
    let mut text = format!(
        "CI failed at {}. Find the cause, fix it, commit, push, then write PHASE:awaiting_ci.\n\n",
        head.short()
    );
    for step in steps.iter().take(MOST_FAILURES) {
        let code = step.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
        let link = if step.link.is_empty() { String::new() } else { format!(" ({})", step.link) };
        let tail = if step.log_tail.trim().is_empty() { "No log was to be had." } else { &step.log_tail };
        section(&mut text, &format!("Failed: {}{code}{link}", one_line(&step.name)), tail);
    }
    if let Some(more) = steps.len().checked_sub(MOST_FAILURES).filter(|more| *more > 0) {
        text.push_str(&format!("\nand {more} more checks failed, which are left out here; mend these first.\n"));
    }
    text
}

pub(super) fn ci_timed_out(head: &Sha, limit_secs: u64) -> String {
    format!(
        "CI gave no verdict on {} within {} minutes. See whether the change makes it hang; if so fix it, push, and write PHASE:awaiting_ci. \
         If not, write PHASE:escalate with what you found.\n",
        head.short(),
        limit_secs / 60
    )
}

pub(super) fn review(
    reviewer: &Login,
    verdict: Verdict,
    commit: Option<&Sha>,
    head: Option<&Sha>,
    text: &str,
) -> String {
    let what = if verdict == Verdict::ChangesRequested { "asks for changes" } else { "commented" };
    let old = match (commit, head) {
        (Some(commit), Some(head)) if commit != head => {
            format!(" The review was of {}; the branch is at {} by now.", commit.short(), head.short())
        }
        _ => String::new(),
    };
    let mut message = format!(
        "{reviewer} reviewed the pull request and {what}.{old} Deal with every point, commit, push, then write PHASE:awaiting_ci. \
         If nothing is to be changed, write PHASE:awaiting_review.\n\n"
    );
    section(&mut message, "The review", text);
    message
}

/// rig cannot bring the branch up to date by itself.
pub(super) fn rebase_by_hand(why: &str) -> String {
    format!(
        "The branch must have the newest primary branch in it before it can be merged, and rig cannot do that by itself: {why}. \
         Commit or remove what is uncommitted, fetch, rebase on the primary branch with care for both sides, push with \
         --force-with-lease, then write PHASE:awaiting_ci.\n"
    )
}

/// Stands in front of the first message after rig has moved the branch.
pub(super) fn branch_moved(old: &Sha, new: &Sha) -> String {
    format!(
        "Note: rig has brought your branch up to date with the primary branch, from {} to {}. It is pushed. Read files again before \
         you change them; if `git status` shows your branch apart from its upstream, rebase your own commits on {}.",
        old.short(),
        new.short(),
        new.short()
    )
}

pub(super) fn conflict() -> String {
    "The branch conflicts with the primary branch. Fetch and rebase it on the primary branch, resolve the conflicts with care for both sides, \
     run the tests, push (git push --force-with-lease), then write PHASE:awaiting_ci.\n"
        .to_owned()
}

pub(super) fn human_reply(who: &str, text: &str) -> String {
    let mut message = String::from(
        "A person answered. Take it as the answer to what was asked, then go on and write the phase that holds.\n\n",
    );
    section(&mut message, &format!("Answer of {}", one_line(who)), text);
    message
}

pub(super) fn not_merged(pull_request: Option<PullRequestNumber>) -> String {
    match pull_request {
        Some(number) => format!("Pull request {number} is not merged yet, so the issue is not done. Write PHASE:awaiting_review and wait, or go on with the work.\n"),
        None => "There is no pull request yet, so the issue is not done. Push the branch and write PHASE:awaiting_ci; if the issue needs no change, \
                 refuse it with `Refusal: already_done`.\n"
            .to_owned(),
    }
}

pub(super) fn refusal_comment(refusal: Refusal, reason: &str) -> String {
    let what = match refusal {
        Refusal::TooLarge => "The agent finds this issue too large or too vague for one pull request.",
        Refusal::UnmetDependency => "The agent finds that this issue needs something that is not there yet.",
        Refusal::AlreadyDone => {
            "The agent finds that this is done already. The issue stays open until a person has looked."
        }
    };
    let next = match refusal {
        Refusal::TooLarge => "Split or sharpen it, then label it `backlog` again.",
        Refusal::UnmetDependency => "Add a line `Depends on #N` for what it needs, then label it `backlog` again.",
        Refusal::AlreadyDone => "Close it if that is right; else say what is missing and label it `backlog` again.",
    };
    format!("{what}\n\n{}\n\n{next}\n", quote_block(reason))
}

/// Renders the title of a run's pull request.
pub fn pull_request_title(issue_title: &str, number: u64) -> String {
    format!("fix: {} (#{number})", one_line(issue_title))
}

/// Renders the text of a run's pull request.
pub fn pull_request_body(number: u64, summary: &str) -> String {
    format!("Fixes #{number}\n\n{}", harmless(&quote(summary.trim()))).trim_end().to_owned() + "\n"
}

/// Renders the text of a pull request that goes on under an issue which it does not say it closes.
pub fn closing_body(number: u64, body: &str) -> String {
    format!("Fixes #{number}\n\n{}", body.trim()).trim_end().to_owned() + "\n"
}

/// Takes out what a forge would act on in a text of the agent: words that close another issue, and hidden markers.
fn harmless(text: &str) -> String {
    static CLOSING: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)\b(close[sd]?|fix(?:e[sd])?|resolve[sd]?)(:?\s+)([\w.-]+/[\w.-]+)?#(\d+)")
            .expect("the pattern is fixed")
    });
    CLOSING.replace_all(&marker::harmless(text), "$1${2}issue $3 $4").into_owned()
}

/// Renders the diagnosis that is written on an issue that rig gives up on.
pub fn diagnosis(why: &str, pull_request: Option<PullRequestNumber>, minutes: i64, screen: &str) -> String {
    let mut text = format!("This is blocked: {why}\n\n- worked on for {minutes} minutes\n");
    if let Some(number) = pull_request {
        let _ = writeln!(text, "- pull request {number}");
    }
    if !screen.trim().is_empty() {
        let _ = write!(text, "\nThe end of the session's screen:\n\n{}\n", code_block(screen.trim_end()));
    }
    text.push_str("\nWhen the cause is out of the way, replace the label `blocked` by `backlog`.\n");
    text
}

fn section(text: &mut String, title: &str, body: &str) {
    let _ = write!(text, "## {title}\n{}\n\n", quote(body.trim_end()));
}

/// Cuts outside text to a bounded length and takes out control characters other than line ends and tabs.
fn quote(text: &str) -> String {
    let clean: String =
        text.chars().filter(|c| !c.is_control() || *c == '\n' || *c == '\t').take(QUOTE_CHARS).collect();
    if text.chars().count() > QUOTE_CHARS { clean + "\n[cut]" } else { clean }
}

fn one_line(text: &str) -> String {
    quote(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn quote_block(text: &str) -> String {
    if text.trim().is_empty() {
        return "> (no reason given)".to_owned();
    }
    quote(text).lines().map(|line| format!("> {line}\n")).collect::<String>().trim_end().to_owned()
}

/// Fences text with more backticks than it contains in a row.
fn code_block(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}\n{}\n{fence}", quote(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::gate::closed_issues;
    use crate::domain::ids::IssueNumber;

    #[test]
    fn a_summary_cannot_close_another_issue_or_plant_a_marker() {
        let body = pull_request_body(3, "Fixes #7, closes: #8, resolved acme/widget#9\n<!-- rig:claim run=x -->");
        assert_eq!(closed_issues(&body), vec![IssueNumber(3)]);
        assert!(!body.contains("<!--"), "{body}");
    }

    #[test]
    fn outside_text_in_a_prompt_is_bounded_and_holds_no_control_characters() {
        let text = quote(&format!("\u{1b}[201~{}", "x".repeat(QUOTE_CHARS * 2)));
        assert!(text.chars().count() < QUOTE_CHARS + 20 && !text.contains('\u{1b}') && text.ends_with("[cut]"));
    }

    #[test]
    fn of_many_failed_checks_the_first_are_told_and_the_rest_counted() {
        let step = |number: usize| FailedStep {
            name: format!("check-{number}."),
            exit_code: None,
            log_tail: "x".repeat(8 * 1024),
            link: String::new(),
        };
        let head = Sha::new("a".repeat(40)).unwrap();
        let told = |count| ci_failed(&head, &(1..=count).map(step).collect::<Vec<_>>());
        let many = told(300);
        assert!(many.contains("check-8.") && !many.contains("check-9.") && many.contains("and 292 more checks failed"));
        assert!(many.len() < 80 * 1024, "{}", many.len());
        let few = told(8);
        assert!(few.contains("check-8.") && !few.contains("more checks failed"));
    }

    #[test]
    fn a_screen_with_fences_stays_inside_its_own_fence() {
        let block = code_block("a\n````\nb");
        assert!(block.starts_with("`````\n") && block.ends_with("\n`````"), "{block}");
    }

    #[test]
    fn what_is_typed_is_one_short_line() {
        let line = typed_line("/r/state/run/p/1/inbox/01ARZ3NDEKTSV4RRFFQ69G5FAV-12-0.md");
        assert!(!line.contains('\n') && line.len() < 800, "{line}");
    }
}
