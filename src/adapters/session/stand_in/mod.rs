//! A scripted agent with claude's surface at the terminal: the same options, hooks, input line, pastes, transcripts and
//! refusals, so that everything around an agent can be run for real without one. `rig demo`, `rig phase test` and the tests
//! start it as `rig stand-in ...`.
//!
//! It is as strict as the original where that has hurt: without the answers that rig gives beforehand it shows a dialog and
//! waits; as root it refuses to work without `IS_SANDBOX=1`; a used session id and an unknown one to resume are errors; a
//! paste without brackets submits every line; a line that begins with `!` or `/` is a command and no prompt.
//!
//! # Scripts
//! `RIG_STAND_IN_SCRIPT` names a JSON or TOML file; without it a built-in script makes a small change and follows the
//! phase protocol. See [`script`] for the format.
//!
//! Transcripts go to `$CLAUDE_CONFIG_DIR` (default `~/.claude`) `/projects/<folder>/<session id>.jsonl`.

mod actions;
mod agent;
mod hook_runner;
mod options;
pub mod script;
mod terminal;
mod transcript;

use actions::Session;
use agent::Agent;
use hook_runner::Hooks;
use options::Options;
use script::Script;
use terminal::Terminal;
use transcript::Transcript;

/// Version that `--version` answers, in claude's form.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (stand-in)");

/// Runs the agent until it is told to end. Returns what it says on stdout at its end, if anything; an error is what it
/// says before it ends with 1.
pub async fn run(args: Vec<String>) -> Result<Option<String>, String> {
    let options = Options::parse(args)?;
    if options.version {
        return Ok(Some(format!("{VERSION}\n")));
    }
    let mut hooks = Hooks::load(options.settings.as_deref(), &options.session)?;
    let script = Script::from_env()?;
    if options.bypass && rustix::process::geteuid().is_root() && std::env::var("IS_SANDBOX").as_deref() != Ok("1") {
        return Err("--dangerously-skip-permissions cannot be used with root/sudo privileges".to_owned());
    }
    let transcript = match Transcript::open(&options) {
        Ok(transcript) => transcript,
        Err(error) => {
            // The original says goodbye from a session to resume that it never found, and not from a used id.
            if options.resume {
                hooks.fire("SessionEnd", serde_json::json!({ "reason": "other" })).await;
            }
            return Err(error);
        }
    };
    hooks.transcript = transcript.path().display().to_string();
    let terminal = Terminal::take()?;
    let trusted = std::env::var("CLAUDE_CODE_SANDBOXED").as_deref() == Ok("1");
    let question = match () {
        () if !trusted => Some("Do you trust the files in this folder?"),
        () if options.bypass && !hooks.skips_bypass_question() => Some("Bypass permissions: do you accept?"),
        () => None,
    };
    let agent = Agent::new(Session { options, hooks, script, transcript }, terminal);
    let code = agent.run(question).await;
    if code == 0 { Ok(None) } else { std::process::exit(code) }
}
