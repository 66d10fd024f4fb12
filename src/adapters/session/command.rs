//! Any program as an agent: it is started with its own arguments, is ready when its screen shows a pattern, and has ended
//! its turn when the pattern shows and nothing on the screen has changed for a while.

use super::{
    agent::{Agent, Environment, Start},
    launch::LaunchPlace,
    prompt,
};
use crate::ports::session::{PromptLine, SessionPlan, Signals};
use async_trait::async_trait;
use regex::Regex;
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// Stands in an argument for the path of the file with the first prompt.
pub const PROMPT_FILE: &str = "{prompt_file}";
/// Stands in an argument for the first prompt itself.
pub const PROMPT: &str = "{prompt}";

/// How the agent is started and read, from the project's `[agent]` table.
#[derive(Debug, Clone)]
pub struct CommandAgent {
    pub command: String,
    /// Its arguments; the first prompt is typed in when none of them has a place for it.
    pub args: Vec<String>,
    /// What its empty input line looks like, searched for in the whole screen, line by line.
    pub ready: Regex,
    /// Time without any change of the screen after which a turn has ended.
    pub quiet: Duration,
}

impl CommandAgent {
    /// Returns the pattern as a screen is searched with it: `^` and `$` are the ends of a line.
    pub fn pattern(text: &str) -> Result<Regex, regex::Error> {
        regex::RegexBuilder::new(text).multi_line(true).build()
    }

    fn takes_prompt(&self) -> bool {
        self.args.iter().any(|argument| argument.contains(PROMPT_FILE) || argument.contains(PROMPT))
    }
}

#[async_trait]
impl Agent for CommandAgent {
    fn program(&self) -> &str {
        &self.command
    }

    fn arguments(&self, plan: &SessionPlan, place: &LaunchPlace) -> Vec<String> {
        let file = place.prompt();
        let fill = |argument: &String| {
            // The path first: what the prompt says is never looked at again.
            let with_file = argument.replace(PROMPT_FILE, &file.display().to_string());
            with_file.replace(PROMPT, &prompt::as_argument(&plan.prompt, &file))
        };
        self.args.iter().map(fill).collect()
    }

    fn environment(&self, _given: &Environment, _root: &Path) -> io::Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    async fn version(&self, _program: &Path, _environment: &Environment) -> Option<String> {
        None
    }

    fn write_files(&self, _start: &Start<'_>) -> io::Result<()> {
        Ok(())
    }

    fn signals(&self) -> Signals {
        Signals::Screen { quiet: self.quiet }
    }

    fn first_line(&self, prompt_file: PathBuf) -> Option<String> {
        (!self.takes_prompt()).then(|| prompt::read_line(&prompt_file))
    }

    /// The last place where the pattern matches is the input line; text behind it on the same line is somebody's.
    fn prompt_line(&self, screen: &str) -> PromptLine {
        let Some(found) = self.ready.find_iter(screen).last() else { return PromptLine::Absent };
        let rest = screen[found.end()..].lines().next().unwrap_or_default();
        match rest.trim().is_empty() {
            true => PromptLine::Empty,
            false => PromptLine::HalfTyped,
        }
    }

    fn known_start(&self, _screen: &str) -> Option<&'static str> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(args: &[&str], ready: &str) -> CommandAgent {
        CommandAgent {
            command: "sh".into(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            ready: CommandAgent::pattern(ready).unwrap(),
            quiet: Duration::from_secs(1),
        }
    }

    #[test]
    fn only_the_last_place_of_the_pattern_is_the_input_line() {
        let agent = agent(&[], "^you> ?");
        for (screen, expected) in [
            ("hello\nyou> \n\n\n", PromptLine::Empty),
            ("hello\nyou>", PromptLine::Empty),
            ("you> Read /x\nworking\n", PromptLine::HalfTyped),
            ("you> Read /x\ndone\nyou>   \n", PromptLine::Empty),
            ("you> half\n", PromptLine::HalfTyped),
            ("are you> sure\n", PromptLine::Absent),
            ("", PromptLine::Absent),
        ] {
            assert_eq!(agent.prompt_line(screen), expected, "{screen:?}");
        }
    }

    #[test]
    fn the_prompt_is_typed_only_when_no_argument_has_a_place_for_it() {
        let file = PathBuf::from("/a/prompt.md");
        assert_eq!(agent(&["-x"], ">").first_line(file.clone()).as_deref(), Some("Read /a/prompt.md and carry it out"));
        assert_eq!(agent(&["--message-file={prompt_file}"], ">").first_line(file.clone()), None);
        assert_eq!(agent(&["{prompt}"], ">").first_line(file), None);
    }
}
