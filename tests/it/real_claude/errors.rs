//! Errors of the model's service, as the real program tells of them.

use super::{VARIABLES, claude};
use crate::{
    scripted_api::{self, Script},
    terminal::{Terminals, name},
};
use jiff::{Timestamp, tz::TimeZone};
use rig::{
    adapters::session::ClaudeAgent,
    domain::usage_limit,
    ports::session::{HookKind, PromptLine, Sessions},
};
use std::sync::OnceLock;

/// Each kind of error, and the word by which the program calls it.
const ERRORS: [(Script, &str); 7] = [
    (|_| vec![scripted_api::error(400)], "unknown"),
    (|_| vec![scripted_api::error(401)], "authentication_failed"),
    (|_| vec![scripted_api::error(403)], "authentication_failed"),
    (|_| vec![scripted_api::error(429)], "rate_limit"),
    (|_| vec![scripted_api::error(500)], "server_error"),
    (|_| vec![scripted_api::error(529)], "server_error"),
    (|_| vec![scripted_api::error(0)], "server_error"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_error_ends_the_turn_by_name_and_leaves_an_agent_that_can_be_told_to_go_on() {
    let Some(claude) = claude() else { return };
    let mut wrong = Vec::new();
    for (index, (script, expected)) in ERRORS.into_iter().enumerate() {
        let url = scripted_api::serve(script).await;
        let terminals =
            Terminals::with_agent(ClaudeAgent { command: claude.program.clone(), args: Vec::new(), model: None });
        let mut plan = terminals.plan(1, serde_json::json!([]));
        plan.env.extend(VARIABLES.map(|(name, value)| (name.to_owned(), value.to_owned())));
        plan.env.push(("ANTHROPIC_BASE_URL".into(), url));
        terminals.sessions.start(&plan).await.unwrap();
        let failed = || {
            terminals.hooks().into_iter().find_map(|event| match event.kind {
                HookKind::TurnFailed { error, .. } => Some(error),
                _ => None,
            })
        };
        terminals.until("the turn has failed", async || failed().is_some()).await;
        let error = failed().unwrap();
        if !error.contains(expected) {
            wrong.push(format!("number {index}: {error}, not {expected}"));
        }
        terminals
            .until("a line can be typed", async || {
                terminals.sessions.prompt_line(&terminals.screen().await) == PromptLine::Empty
            })
            .await;
        // The program may have written something into the line by itself: what is typed is taken as it is all the same.
        terminals.sessions.type_line(&name(), "Go on").await.unwrap();
        terminals.until("it is told to go on", async || terminals.prompts().len() == 2).await;
        assert_eq!(terminals.prompts()[1], "Go on");
        assert_eq!(terminals.turns_ended(), 0, "no stop, since it has not stopped by itself");
        terminals.sessions.end(&name()).await.unwrap();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Where the account is a subscription, the program makes words of its own of what the service says.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_at_its_limit_says_until_when_in_words_that_are_understood() {
    let Some(claude) = claude() else { return };
    static RESETS_AT: OnceLock<Timestamp> = OnceLock::new();
    // The program names the minute.
    let minute = Timestamp::now().as_second() / 60 + 180;
    RESETS_AT.get_or_init(|| Timestamp::from_second(minute * 60).unwrap());
    let url = scripted_api::serve(|_| vec![scripted_api::usage_limit(RESETS_AT.get().unwrap().as_second())]).await;
    let terminals =
        Terminals::with_agent(ClaudeAgent { command: claude.program.clone(), args: Vec::new(), model: None });
    let mut plan = terminals.plan(1, serde_json::json!([]));
    let variables = VARIABLES.into_iter().filter(|(name, _)| *name != "ANTHROPIC_AUTH_TOKEN");
    plan.env.extend(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    plan.env.push(("CLAUDE_CODE_OAUTH_TOKEN".into(), "made-up".into()));
    plan.env.push(("ANTHROPIC_BASE_URL".into(), url));
    terminals.sessions.start(&plan).await.unwrap();
    let failed = || {
        terminals.hooks().into_iter().find_map(|event| match event.kind {
            HookKind::TurnFailed { error, message } => Some((error, message)),
            _ => None,
        })
    };
    terminals.until("the turn has failed", async || failed().is_some()).await;
    let (error, message) = failed().unwrap();
    assert!(error.contains("rate_limit"), "{error}");
    let limit = usage_limit::read(&message, Timestamp::now(), &TimeZone::UTC, |zone| TimeZone::get(zone).ok());
    assert_eq!(limit.map(|limit| limit.resets_at), Some(RESETS_AT.get().copied()), "{message}");
}
