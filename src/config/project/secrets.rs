//! The secrets of a project: its file names the variables that hold them, never the values.

use super::{
    super::{environment::Environment, resolve::Settings},
    read::{map, text},
};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;

/// The secrets of a project, by the variables that its keys name.
pub(super) struct Secrets {
    pub(super) token: SecretString,
    pub(super) push: SecretString,
    pub(super) review: Option<SecretString>,
    pub(super) mirrors: BTreeMap<String, SecretString>,
    /// Present when CI is Woodpecker's.
    pub(super) woodpecker: Option<SecretString>,
    pub(super) webhook: Option<SecretString>,
}

impl Secrets {
    /// `None` when one that is needed is not there, or wrong; each is a problem of the project then.
    pub(super) fn find(settings: &mut Settings, environment: &Environment) -> Option<Self> {
        let token = secret(settings, environment, "forge.token_env");
        let push = secret_if_named(settings, environment, "forge.push_token_env");
        let review = secret_if_named(settings, environment, "forge.review_token_env");
        let mirrors = mirror_tokens(settings, environment);
        let webhook = secret_if_named(settings, environment, "notify.webhook_secret_env");
        let woodpecker = match text(settings, "ci.provider").as_deref() {
            Some("woodpecker") => secret(settings, environment, "ci.woodpecker_token_env").map(Some),
            _ => Some(None),
        };
        let (token, review) = (token?, review?);
        if review.as_ref().is_some_and(|review| review.expose_secret() == token.expose_secret()) {
            settings.problem(
                "forge.review_token_env",
                "the variables of `forge.token_env` and `forge.review_token_env` hold the same token",
                "the reviewer must be another account than the bot",
            );
        }
        let push = push?.unwrap_or_else(|| token.clone());
        Some(Self { push, token, review, webhook: webhook?, woodpecker: woodpecker?, mirrors })
    }
}

/// The outer `None` tells of one that is named and not there.
fn secret_if_named(settings: &mut Settings, environment: &Environment, path: &str) -> Option<Option<SecretString>> {
    match settings.value(path) {
        Some(_) => secret(settings, environment, path).map(Some),
        None => Some(None),
    }
}

fn secret(settings: &mut Settings, environment: &Environment, path: &str) -> Option<SecretString> {
    let variable = text(settings, path)?;
    secret_in(settings, environment, path, &variable)
}

fn secret_in(settings: &mut Settings, environment: &Environment, path: &str, variable: &str) -> Option<SecretString> {
    if let Some((value, _)) = environment.get(variable) {
        let value = value.trim();
        if !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Some(SecretString::from(value.to_owned()));
        }
        settings.problem(path, format!("the variable {variable} of `{path}` holds white space"), "a token has none");
        return None;
    }
    let project = text(settings, "name").unwrap_or_else(|| "the project".to_owned());
    let message = format!("{project} has no token: the variable {variable} of `{path}` is not set");
    let hint = format!("set {variable}, or write {variable}=... into state/env (chmod 600)");
    settings.problem(path, message, hint);
    None
}

/// Returns the tokens of mirrors by the mirrors' names. One that is named and not there is a problem of the project.
fn mirror_tokens(settings: &mut Settings, environment: &Environment) -> BTreeMap<String, SecretString> {
    let mirrors = map(settings, "mirrors");
    let mut tokens = BTreeMap::new();
    for (name, variable) in map(settings, "mirror_tokens") {
        match mirrors.get(&name) {
            None => {
                let message = format!("`mirror_tokens.{name}` belongs to no mirror");
                settings.problem("mirror_tokens", message, format!("add {name} to [mirrors], or leave it out"));
            }
            Some(url) if !url.starts_with("https://") && !url.starts_with("http://") => {
                let message = format!("`mirror_tokens.{name}` is for a mirror that is not reached over HTTP");
                settings.problem("mirror_tokens", message, "over ssh, the key of the user who runs rig opens it");
            }
            Some(_) => {
                tokens.extend(secret_in(settings, environment, "mirror_tokens", &variable).map(|token| (name, token)))
            }
        }
    }
    tokens
}
