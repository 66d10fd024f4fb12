//! The demo's project: a small program with a test, three issues, and the project file that points rig at them.

use super::people;
use crate::{
    adapters::process::Program,
    cli::{DemoAgent, DemoArgs},
    config::Root,
    embedded_forge::Running,
    output::Failure,
};
use std::{
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

pub(super) const OWNER: &str = "acme";
pub(super) const NAME: &str = "greeter";
pub(super) const REPOSITORY: &str = "acme/greeter";
pub(super) const PROJECT: &str = "greeter";

/// The issues in the order of their making: title, text, labels. The second has priority, the third waits for the first.
pub(super) const ISSUES: [(&str, &str, &[&str]); 3] = [
    ("Greet a person by name", "`sh greet.sh Ada` should print `Hello, Ada!`. Add a test.", &["backlog"]),
    ("Say goodbye", "`sh greet.sh --bye` should print `Goodbye, world!`. Add a test.", &["backlog", "priority"]),
    (
        "Greet several people",
        "`sh greet.sh Ada Grace` should greet each on a line of its own. Add a test.\n\n## Dependencies\n- #1\n",
        &["backlog"],
    ),
];

const FILES: [(&str, &str); 4] = [
    ("greet.sh", include_str!("sample/greet.sh")),
    ("test.sh", include_str!("sample/test.sh")),
    ("README.md", include_str!("sample/README.md")),
    ("tests/world.test", include_str!("sample/world.test")),
];

/// Start of the names of the variables that say where claude's model is, which, and by what key.
const CLAUDE_PREFIX: &str = "ANTHROPIC_";
/// Further variables without which a claude that works for whoever runs the demo may not work in it: its login, its
/// network, what it may do beside its work. Not all of `CLAUDE_CODE_`: a demo started from within an agent's own session
/// would be taken for a part of it. No proxy for plain HTTP: git would push to the demo's forge through it.
const CLAUDE_VARIABLES: [&str; 12] = [
    "CLAUDE_CONFIG_DIR",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    "CLAUDE_CODE_MAX_RETRIES",
    "DISABLE_TELEMETRY",
    "DISABLE_ERROR_REPORTING",
    "HTTPS_PROXY",
    "NO_PROXY",
    "https_proxy",
    "no_proxy",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
];

/// What the demo works on.
pub(super) struct Sample {
    root: Root,
    agent: DemoAgent,
    pub(super) mirror: PathBuf,
    pub(super) bot_token: String,
    pub(super) reviewer_token: String,
}

impl Sample {
    /// Makes the accounts, the repository, the issues, the mirror and the project file.
    pub(super) async fn make(root: &Root, rig: &Path, forge: &Running, args: &DemoArgs) -> Result<Self, Failure> {
        let bot_token = forge.ensure_user("dev-bot").await.map_err(Failure::internal)?;
        let reviewer_token = forge.ensure_user("review-bot").await.map_err(Failure::internal)?;
        let owner_token = forge.ensure_user(OWNER).await.map_err(Failure::internal)?;
        forge.ensure_empty_repository(OWNER, NAME).await.map_err(Failure::internal)?;
        for account in ["dev-bot", "review-bot"] {
            forge.ensure_collaborator(OWNER, NAME, account, "write").await.map_err(Failure::internal)?;
        }
        let sample = Self {
            root: root.clone(),
            agent: args.agent,
            mirror: root.path().join("mirror.git"),
            bot_token,
            reviewer_token,
        };
        sample.push_first_commit(&forge.url(), &owner_token).await?;
        let issues = &ISSUES[..usize::from(args.issues)];
        people::file_issues(&forge.url(), &owner_token, issues).await?;
        git(root.path(), &["init", "--quiet", "--bare", "--initial-branch=main", "mirror.git"]).await?;
        sample.write_files(rig, &forge.url(), args)?;
        Ok(sample)
    }

    /// Adds the environment that the demo's cron has: its own root, and nothing that is kept outside it.
    pub(super) fn with_environment(&self, program: Program) -> Program {
        let root = self.root.path();
        let program =
            program.env("RIG_ROOT", root).env("XDG_STATE_HOME", root.join("xdg-state")).without_env("FORGE_TOKEN");
        match self.agent {
            DemoAgent::StandIn => program
                .env("RIG_STAND_IN_SCRIPT", root.join("script.json"))
                .env("CLAUDE_CONFIG_DIR", root.join("stand-in")),
            // It answers with the login and the settings of whoever runs the demo.
            DemoAgent::Claude => program,
        }
    }

    async fn push_first_commit(&self, url: &str, token: &str) -> Result<(), Failure> {
        let checkout = self.root.path().join("first-commit");
        for (name, text) in FILES {
            write(&checkout.join(name), text, 0o644)?;
        }
        git(&checkout, &["init", "--quiet", "--initial-branch=main"]).await?;
        git(&checkout, &["add", "--all"]).await?;
        let identity = ["-c", "user.name=Acme", "-c", "user.email=acme@noreply.invalid"];
        git(&checkout, &[&identity[..], &["commit", "--quiet", "-m", "A greeter"]].concat()).await?;
        use base64::Engine;
        let header = base64::engine::general_purpose::STANDARD.encode(format!("{OWNER}:{token}"));
        // The token goes by the environment: neither arguments nor a stored URL hold it.
        let push = git_program(&checkout)
            .args(["push", "--quiet", &format!("{url}/{REPOSITORY}.git"), "main"])
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "http.extraHeader")
            .env("GIT_CONFIG_VALUE_0", format!("Authorization: Basic {header}"));
        push.run_ok().await.map_err(Failure::internal)?;
        std::fs::remove_dir_all(&checkout).map_err(|error| Failure::user(error).context(checkout.display()))
    }

    fn write_files(&self, rig: &Path, url: &str, args: &DemoArgs) -> Result<(), Failure> {
        let agent = match args.agent {
            DemoAgent::Claude => {
                let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
                let allowed: toml::Value = names.filter(|name| is_claudes(name)).collect::<Vec<_>>().into();
                format!("kind = \"claude\"\nenv_allow = {allowed}\n")
            }
            DemoAgent::StandIn => format!(
                "kind = \"claude\"\ncommand = {}\nargs = [\"stand-in\"]\nenv_allow = [\"RIG_STAND_IN_SCRIPT\", \"CLAUDE_CONFIG_DIR\"]\n",
                toml::Value::from(rig.display().to_string())
            ),
        };
        let project = format!(
            "name = \"{PROJECT}\"\nrepo = \"{REPOSITORY}\"\nforge_url = \"{url}\"\n\n\
             [forge]\nkind = \"embedded\"\nbot = \"dev-bot\"\ntoken_env = \"DEMO_BOT_TOKEN\"\nreview_token_env = \"DEMO_REVIEW_TOKEN\"\n\
             poll_interval = \"200ms\"\n\n\
             [ci]\nprovider = \"local\"\ncommand = \"sh test.sh\"\n\n\
             [agent]\n{agent}min_free_memory_mb = 0\n\n\
             [review]\nreviewers = [\"review-bot\"]\n\n\
             [mirrors]\nbackup = {}\n",
            toml::Value::from(self.mirror.display().to_string())
        );
        write(&self.root.projects_dir().join("greeter.toml"), &project, 0o644)?;
        write(&self.root.path().join("script.json"), include_str!("sample/script.json"), 0o644)?;
        let env = format!("DEMO_BOT_TOKEN={}\nDEMO_REVIEW_TOKEN={}\n", self.bot_token, self.reviewer_token);
        write(&self.root.env_file(), &env, 0o600)
    }
}

/// Returns whether claude needs the variable of this name to work as it does outside of the demo.
fn is_claudes(name: &str) -> bool {
    name.starts_with(CLAUDE_PREFIX) || CLAUDE_VARIABLES.contains(&name)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let result = (|| {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = std::fs::File::options().create(true).truncate(true).write(true).mode(mode).open(path)?;
        std::io::Write::write_all(&mut file, text.as_bytes())
    })();
    result.map_err(|error: std::io::Error| Failure::user(error).context(path.display()))
}

fn git_program(folder: &Path) -> Program {
    Program::new("git")
        .cwd(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
}

async fn git(folder: &Path, args: &[&str]) -> Result<(), Failure> {
    git_program(folder).args(args).run_ok().await.map(|_| ()).map_err(Failure::internal)
}

/// Returns the commit at the tip of a branch of a bare repository.
pub(super) async fn tip(repository: &Path, branch: &str) -> Option<String> {
    let asked = git_program(repository).args(["rev-parse", "--verify", "--quiet", &format!("refs/heads/{branch}")]);
    asked.run_ok().await.ok().map(|output| output.text())
}

/// Returns whether a bare repository's primary branch contains a commit.
pub(super) async fn contains(repository: &Path, commit: &str) -> bool {
    git_program(repository).args(["merge-base", "--is-ancestor", commit, "refs/heads/main"]).run_ok().await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claude_gets_its_login_and_nothing_of_a_session_around_the_demo() {
        for name in
            ["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "CLAUDE_CONFIG_DIR", "CLAUDE_CODE_OAUTH_TOKEN", "HTTPS_PROXY"]
        {
            assert!(is_claudes(name), "{name}");
        }
        for name in
            ["CLAUDE_CODE_SSE_PORT", "CLAUDE_CODE_ENTRYPOINT", "CLAUDECODE", "FORGE_TOKEN", "http_proxy", "RIG_ROOT"]
        {
            assert!(!is_claudes(name), "{name}");
        }
    }
}
