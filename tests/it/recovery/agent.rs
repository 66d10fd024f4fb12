//! Scripts of the agent. Everything that it does is noted with the number of its attempt.

use super::world::{Plan, stand_in};
use serde_json::{Value, json};

/// Notes that something was done.
pub(crate) fn note(what: &str) -> Value {
    json!({ "run": format!("echo \"$RIG_ATTEMPT {what}\" >> \"$NOTES/done\"") })
}

/// Writes a phase, with its reason.
pub(crate) fn phase(phase: &str, reason: &str) -> Value {
    let reason = if reason.is_empty() { String::new() } else { format!("Reason: {reason}\\n") };
    json!({ "run": format!("printf 'PHASE:{phase}\\n{reason}' > \"$PHASE_FILE\"") })
}

/// Changes something, commits and pushes it. A push that fails is tried again, as an agent would.
pub(crate) fn push(change: &str) -> Value {
    let push = "{ git push -q -u origin HEAD || git push -q -u origin HEAD || git push -q -u origin HEAD; }";
    json!({ "run": format!("{change} && git add -A && git commit -qm 'A change' && {push}") })
}

pub(crate) fn run(command: &str) -> Value {
    json!({ "run": command })
}

pub(crate) fn rule(contains: &str, actions: &[Value]) -> Value {
    json!({ "contains": contains, "repeat": true, "actions": actions })
}

/// Returns a plan with one issue. What the agent does about CI and reviews comes after the given rules.
pub(crate) fn plan(rules: Vec<Value>) -> Plan {
    let usual = [
        rule("CI passed at", &[note("passed"), phase("awaiting_review", "")]),
        rule(
            "CI failed at",
            &[note("failed"), push("git rm -q broken && echo repaired >> work.txt"), phase("awaiting_ci", "")],
        ),
        rule("asks for changes", &[note("changes"), push("echo changed >> work.txt"), phase("awaiting_ci", "")]),
        rule("Title: Task", &[note("begun"), push("touch work.txt"), phase("awaiting_ci", "")]),
    ];
    let rules: Vec<Value> = rules.into_iter().chain(usual).collect();
    Plan {
        script: json!({ "version": 1, "rules": rules }),
        idle_timeout: "30m",
        agent: stand_in(),
        variables: Vec::new(),
    }
}

/// An agent that does all that it is told at once, and well.
pub(crate) fn quick() -> Plan {
    plan(Vec::new())
}

/// An agent whose first push breaks CI.
pub(crate) fn careless() -> Plan {
    plan(vec![
        // Later prompts name the issue too when they are a session's first; these two come before.
        rule("To be done now", &[note("told anew")]),
        rule("Title: Task", &[note("begun"), push("touch broken work.txt"), phase("awaiting_ci", "")]),
    ])
}

/// An agent that asks people which colour it is to be, and goes on with their answer.
pub(crate) fn asking() -> Plan {
    plan(vec![
        rule("Answer of acme", &[note("answered"), push("touch work.txt"), phase("awaiting_ci", "")]),
        rule("Title: Task", &[note("begun"), phase("escalate", "which colour")]),
    ])
}
