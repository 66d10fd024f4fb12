//! The rules that a run goes by: taken from the configuration at the claim and journaled with it, so that folding the
//! journal later gives the same run even when the configuration has changed since.

use serde::{Deserialize, Serialize};

/// Rules of a run; times in whole seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Fixes after a red CI that one pull request is worth.
    pub ci_fixes: u32,
    /// Reviews with requested changes before a human is asked.
    pub review_rounds: u32,
    /// Starts of a session after the first.
    pub respawns: u32,
    /// Reminders in one turn that ended without a phase.
    pub nudges: u32,
    /// Times that the branch is brought up to date with the primary branch, by rig or by the agent.
    pub rebases: u32,
    /// Observed time that the agent may work in total.
    pub agent_timeout_secs: u64,
    /// Observed time that CI may take for one commit.
    pub ci_timeout_secs: u64,
    /// Wall time that a pull request may wait for its review.
    pub review_timeout_secs: u64,
    /// Wall time after which an unanswered escalation is repeated.
    pub escalate_reminder_secs: u64,
    /// Wall time after which the second contact is told.
    pub escalate_second_secs: u64,
    /// Wall time after which an unanswered escalation blocks the issue.
    pub escalate_timeout_secs: u64,
    /// Delete the branch on the forge once it is merged.
    pub delete_branch: bool,
    /// How an accepted branch that lacks commits of the primary branch is brought up to date.
    #[serde(default)]
    pub when_behind: WhenBehind,
    /// Look once more at everything that a merge should have brought about. Runs of before it was done end without.
    #[serde(default)]
    pub audit: bool,
}

/// What is done about a branch that is behind the primary branch when it is to be merged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenBehind {
    /// It is merged as it is; where the forge does not allow that, it is rebased.
    #[default]
    AsIs,
    /// Its commits are put onto the primary branch.
    Rebase,
    /// The primary branch is merged into it.
    Update,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ci_fixes: 3,
            review_rounds: 6,
            respawns: 3,
            nudges: 2,
            rebases: 3,
            agent_timeout_secs: 7_200,
            ci_timeout_secs: 3_600,
            review_timeout_secs: 7 * 24 * 3_600,
            escalate_reminder_secs: 30 * 60,
            escalate_second_secs: 4 * 3_600,
            escalate_timeout_secs: 24 * 3_600,
            delete_branch: true,
            when_behind: WhenBehind::AsIs,
            audit: false,
        }
    }
}

/// Observed time after which people are told that rig's own next act does not come about.
pub const STUCK_SECS: u64 = 30 * 60;
/// Observed time after which rig gives the act up, and hands the run to a human.
pub const GIVE_UP_SECS: u64 = 3 * 3_600;
/// What the run's own clock allows beyond CI's limit: where rig runs CI itself, that limit is told with the log.
pub const CI_SLACK_SECS: u64 = 60;
/// Refusals of the guard that a run's journal holds; more say nothing new.
pub const REFUSALS_TOLD: u32 = 200;
/// First pause after a refused merge; doubled each time, up to `MERGE_RETRY_MOST_SECS`.
pub const MERGE_RETRY_SECS: i64 = 5;
pub const MERGE_RETRY_MOST_SECS: i64 = 600;
/// Times that CI's machinery may break for one commit before a human is asked.
pub const CI_BREAKS: u32 = 6;
/// First pause before CI is asked again after its machinery broke; doubled each time.
pub const CI_RETRY_SECS: i64 = 30;
/// Seconds until CI that only a person can let go on is looked at again.
pub const HELD_RETRY_SECS: i64 = 60;
/// Times that the forge may refuse a merge that the gate had passed before a human is asked.
pub const MERGE_REFUSALS: u32 = 20;
/// Times that the agent's turn may fail on its API in a row before it counts as a strike.
pub const TURN_FAILURES: u32 = 5;
/// Restarts of the machine in a row that cost a run nothing; from then on each counts as a crash.
pub const RESTARTS: u32 = 5;
/// Time for which nothing is typed into a session after its turn was broken off at the terminal.
pub const HANDS_OFF_SECS: i64 = 600;
/// What the clocks of this machine and of the agent's service may differ by at the end of a usage limit.
pub const USAGE_SLACK_SECS: i64 = 10;
/// First pause at a usage limit that does not say when it is over, or comes again at once; doubled each time.
pub const USAGE_RETRY_SECS: i64 = 5 * 60;
pub const USAGE_RETRY_MOST_SECS: i64 = 3_600;
/// The strike that brings a human; the ones before bring a fresh attempt.
pub const STRIKES: u32 = 2;
