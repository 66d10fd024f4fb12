//! The codes of what a tick decides: one table with the name of each, what it means, and what changes it. Programs read the
//! names, so they stay the same across versions; docs/reason-codes.md is made from this table.

use serde::{Serialize, Serializer};
use std::{fmt, str::FromStr};

/// What a code may be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    Issue,
    PullRequest,
    Both,
    /// The project as a whole; only `rig why` says these.
    Project,
    /// What `rig why N` says where no tick has decided anything of late.
    Asked,
}

/// Whether somebody waits for something, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It goes on by itself, or is done.
    Moves,
    /// It waits for its turn: slots, memory, what is before it.
    Queues,
    /// It waits for people.
    NeedsPeople,
    /// It is not rig's to act on.
    NotOurs,
    /// A fact is missing; nothing is done until it is there.
    Unknown,
}

macro_rules! codes {
    ($($variant:ident $name:literal $about:ident $standing:ident: $meaning:literal; $change:literal)*) => {
        /// Why a tick did or did not do something with an issue or pull request.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $variant,)*
        }

        impl Code {
            /// All codes, in the order of the page that lists them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the name, which stays the same across versions.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns what the code says, as a fragment.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// Returns what would change it, as a fragment.
            pub fn what_changes_it(self) -> &'static str {
                match self { $(Self::$variant => $change,)* }
            }

            /// Returns what it may be about.
            pub fn about(self) -> About {
                match self { $(Self::$variant => About::$about,)* }
            }

            /// Returns whether somebody waits, and for whom.
            pub fn standing(self) -> Standing {
                match self { $(Self::$variant => Standing::$standing,)* }
            }
        }
    };
}

codes! {
    Started "started" Issue Moves: "claimed at that tick, and its driver was started"; "nothing: work has begun"
    Selected "selected" Issue Moves: "next to be started"; "nothing: the same tick claims it"
    Adopted "adopted" Issue Moves: "its run had no driver, and got one"; "nothing: the driver goes on from where the run stands"
    OpenRun "open_run" Issue Moves: "a run works on it"; "the end of the run"
    RunLockHeld "run_lock_held" Issue Moves: "a process that works on it holds its lock"; "the end of that process; the next tick looks again"
    DispatchBusy "dispatch_busy" Issue Queues: "another process was choosing in this repository"; "the next tick looks again"
    ClaimLost "claim_lost" Issue NotOurs: "another claim on the forge was there first"; "the other root gives the issue back"
    ClaimFailedLately "claim_failed_lately" Issue Queues: "its last claim was given back within the hour, before any work"; "an hour passes, or a person runs `rig retry N`"
    RetryAsked "retry_asked" Issue Queues: "a person asked for another try"; "nothing: the next tick takes it in its turn"
    NotReached "not_reached" Issue Queues: "candidates before it take the free slots"; "those before it are done, or it gets the priority label"
    NoFreeSlot "no_free_slot" Issue Queues: "as many agents are at work as `max_agents` allows"; "a run ends, or `max_agents` is raised"
    HeldByWaitingPullRequest "held_by_waiting_pull_request" Issue Queues: "the limit of work in progress is reached, by runs whose pull requests wait for CI or review"; "those pull requests get their CI result and review, or `max_agents` is raised"
    MemoryLow "memory_low" Issue Queues: "less memory is free than a new session needs"; "memory becomes free, or `min_free_memory_mb` is lowered"
    UsageLimit "usage_limit" Issue Queues: "the account of the agent has used up its limit; no session starts meanwhile"; "the time that the limit names passes; rig goes on by itself"
    SwitchedOff "switched_off" Issue NeedsPeople: "the project is switched off"; "`enabled = true` in the project's file, and `rig dev start`"
    DependencyOpen "dependency_open" Issue Queues: "what it waits for is still open"; "what it waits for is closed, or the dependency is taken out of its text or links"
    DependencyUnknown "dependency_unknown" Issue NeedsPeople: "it waits for a number that the forge does not know"; "a person corrects the number in its text"
    DependencyCycle "dependency_cycle" Issue NeedsPeople: "its dependencies lead back to itself"; "a person takes one of the dependencies away"
    SelfDependency "self_dependency" Issue NeedsPeople: "it names itself as its dependency"; "a person corrects its text or links"
    NotClaimableLabel "not_claimable_label" Issue NeedsPeople: "a label makes it somebody else's, or marks it as blocked"; "a person takes the label away"
    InProgressElsewhere "in_progress_elsewhere" Issue NotOurs: "somebody else works on it"; "the other one gives it back, or a person takes the in-progress label away and puts the backlog label on"
    NotInBacklog "not_in_backlog" Issue NeedsPeople: "it does not carry the backlog label"; "a person puts the backlog label on"
    PullRequest "pull_request" Issue NotOurs: "it is a pull request, and no issue"; "nothing: pull requests are judged by the gate"
    Closed "closed" Issue Moves: "it is closed"; "a person opens it again"
    Merged "merged" PullRequest Moves: "merged at that tick, and read back"; "nothing: it is done"
    Ready "ready" PullRequest Moves: "the gate is passed, and a run merges it"; "nothing: the run goes on by itself"
    Merging "merging" PullRequest Moves: "the gate is passed, and the tick merges it by itself, because no issue is open for it"; "nothing: the next tick goes on with what this one could not do"
    NotReady "not_ready" PullRequest NeedsPeople: "the gate is not passed; the words name every reason"; "CI passes, reviewers approve, or whatever else the words name comes about"
    MergeRefused "merge_refused" PullRequest NeedsPeople: "the gate was passed and the merge was not made"; "what the words name; every tick tries again"
    Changed "changed" PullRequest Moves: "it changed while it was judged"; "the next tick judges it anew"
    NotOurs "not_ours" PullRequest NotOurs: "it is not rig's to merge"; "its author merges it, or `chore_authors` names the author of a `chore/*` branch"
    RunEnded "run_ended" Asked Moves: "its run has ended, and no tick has decided anything since"; "a person puts the backlog label on an open issue again"
    NoLongerListed "no_longer_listed" Asked NotOurs: "ticks saw it before, and the last one did not"; "it is opened again, or gets the label that rig looks for"
    NeverSeen "never_seen" Asked NotOurs: "no tick has decided anything about it"; "what the words name"
    LoopOff "loop_off" Project NeedsPeople: "the dev loop is switched off"; "`rig dev start`"
    ProjectOff "project_off" Project NeedsPeople: "the project is switched off in its file"; "`enabled = true` in the project's file"
    ProjectBroken "project_broken" Project NeedsPeople: "something is wrong with the project's file or its tokens"; "a person mends it; `rig config check` tells everything"
    NoTick "no_tick" Project NeedsPeople: "no tick has looked at the project yet"; "`rig dev poll`, by hand or by cron"
    TickOverdue "tick_overdue" Project NeedsPeople: "the last tick was long ago"; "cron runs `rig dev poll` again"
    TickFailed "tick_failed" Project Unknown: "the last tick could not look at the project"; "the next tick tries again; the words name what failed"
    RateLimited "rate_limited" Project Unknown: "the forge wants to be left alone for a while"; "the time that the words name; ticks ask nothing before"
    BudgetSpent "budget_spent" Project Unknown: "the tick spent its requests; what it did not ask is unknown"; "the next tick goes on, or `limits.api_calls` is raised"
    OutOfTime "out_of_time" Project Unknown: "the tick had no more time to read; what it did not ask is unknown"; "the next tick goes on; a forge that answers faster"
    Unknown "unknown" Both Unknown: "a fact that it depends on could not be had"; "the next tick asks again; the words name what failed"
}

/// A name that no code has: the store was written by another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchCode;

impl FromStr for Code {
    type Err = NoSuchCode;

    fn from_str(name: &str) -> Result<Self, NoSuchCode> {
        Self::ALL.iter().copied().find(|code| code.name() == name).ok_or(NoSuchCode)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_is_a_codes_own_and_leads_back_to_it() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| code.name().parse() == Ok(*code)));
        assert_eq!("something_else".parse::<Code>(), Err(NoSuchCode));
    }
}
