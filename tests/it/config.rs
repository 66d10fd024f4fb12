//! The configuration: what is refused and in which words, what wins, and the commands that show it.

use crate::root_support::{GOOD, TestRoot};
use predicates::{prelude::*, str::contains};
use rig::config::{self, Loaded, Problem, environment::Environment, schema};
use secrecy::ExposeSecret;
use std::{collections::BTreeSet, path::Path, time::Duration};

const TOKEN: (&str, &str) = ("FORGE_TOKEN", "token-of-the-bot");

/// Returns a good file for another repository.
fn of_repository(name: &str) -> String {
    GOOD.replace("acme/widget", &format!("acme/{name}"))
}

fn load(root: &TestRoot, variables: &[(&str, &str)]) -> Loaded {
    config::load_with(&root.root(), &[], Environment::of(variables))
}

/// Returns all problems as `LINE:COLUMN: message (hint)`, with the folder of the root cut off.
fn problems(root: &TestRoot, variables: &[(&str, &str)]) -> Vec<String> {
    let folder = format!("{}/", root.path().display());
    let shown = |problem: &Problem| {
        let place = problem.place.map(|place| format!("{}:{}: ", place.line, place.column)).unwrap_or_default();
        let hint = if problem.hint.is_empty() { String::new() } else { format!(" ({})", problem.hint) };
        format!("{place}{}{hint}", problem.message).replace(&folder, "")
    };
    load(root, variables).problems.iter().flat_map(|project| &project.problems).map(shown).collect()
}

#[test]
fn every_mistake_is_told_at_its_place_in_words() {
    let table: &[(&str, &[&str])] = &[
        ("repo = ", &["1:8: is no TOML: string values must be quoted, expected literal string"]),
        ("[forge\nbot = 1", &["1:7: is no TOML: unclosed table, expected `]`"]),
        ("a = 1\na = 2", &["2:1: is no TOML: duplicate key"]),
        ("{GOOD}tokn_env = 'A'", &["5:1: unknown key `tokn_env` in [forge] (did you mean `token_env`?)"]),
        ("brnach = 'x'\n{GOOD}", &["1:1: unknown key `brnach` (did you mean `primary_branch`?)"]),
        ("{GOOD}enabled = true", &["5:1: unknown key `enabled` in [forge] (`enabled` belongs above the first table)"]),
        ("{GOOD}reviewers = []", &["5:1: unknown key `reviewers` in [forge] (`reviewers` belongs in [review])"]),
        (
            "{GOOD}model = 'x'\n[agnet]\nmodel = 'x'",
            &[
                "5:1: unknown key `model` in [forge] (`model` belongs in [agent])",
                "6:2: unknown table `agnet` (did you mean the table [agent]?)",
            ],
        ),
        (
            "{GOOD}[guard]\nx = 1",
            &["6:1: unknown key `x` in [guard] (known are `enabled`, `allow_commands`, `deny_commands`, \
               `allow_paths`, `allow_sudo`, `allow_packages`)"],
        ),
        ("agent = 1\n{GOOD}", &["1:9: `agent` must be a table (write [agent] above its keys)"]),
        (
            "{GOOD}kind = 'github'",
            &["5:8: `forge.kind` = \"github\" is not supported by this version yet \
               (allowed are \"forgejo\", \"gitea\", \"embedded\")"],
        ),
        (
            "{GOOD}[ci]\nprovider = 'woodpecker'",
            &[
                "6:1: `ci.provider` = \"woodpecker\" needs `ci.woodpecker_url` \
               (such as woodpecker_url = \"https://ci.example.org\")",
                "widget has no token: the variable WOODPECKER_TOKEN of `ci.woodpecker_token_env` is not set \
                 (set WOODPECKER_TOKEN, or write WOODPECKER_TOKEN=... into state/env (chmod 600))",
            ],
        ),
        (
            "{GOOD}[ci]\nprovider = 'jenkins'",
            &["6:12: `ci.provider` cannot be \"jenkins\" (allowed are \"forge\", \"woodpecker\", \"local\", \"none\")"],
        ),
        (
            "{GOOD}[agent]\ntimeout = '2 hours'",
            &["6:11: `agent.timeout` is wrong: `2 hours` is no length of time (the form is 90s, 2h, 1h30m or 500ms)"],
        ),
        ("{GOOD}[agent]\ntimeout = 0", &["6:11: `agent.timeout` must be at least 1ms"]),
        ("{GOOD}[agent]\ntimeout = -5", &["6:11: `agent.timeout` must not be negative"]),
        (
            "{GOOD}[agent]\ntimeout = 1.5",
            &["6:11: `agent.timeout` must be a duration, not a number with a fraction \
               (such as \"90s\", \"1h30m\", or whole seconds)"],
        ),
        (
            "{GOOD}[agent]\nmax_agents = '3'",
            &["6:14: `agent.max_agents` must be a whole number, not a text (without quotes)"],
        ),
        ("{GOOD}[agent]\nmax_agents = 0", &["6:14: `agent.max_agents` must be 1 to 100, not 0"]),
        (
            "{GOOD}[ci]\nstale_minutes = '1h'",
            &["6:17: `ci.stale_minutes` must be a whole number, not a text (without quotes)"],
        ),
        (
            "{GOOD}[review]\nreviewers = ['ann', 'b b', 7, 'ann']",
            &[
                "6:21: `review.reviewers` must be an account name (1 to 255 letters, digits, `-`, `_`, `.`, `[`, `]`)",
                "6:28: `review.reviewers` must be a text in quotes, not a whole number",
                "6:31: `review.reviewers` names `ann` twice",
            ],
        ),
        (
            "{GOOD}[labels]\nbacklog = 'a,b'",
            &["6:11: `labels.backlog` must be a label name of at most 50 characters without commas"],
        ),
        (
            "{GOOD}[labels]\nblocked = 'Backlog'",
            &["6:1: `labels.blocked` and `labels.backlog` have one name, `Backlog` (give each its own label)"],
        ),
        ("{GOOD}[labels]\nskip = ['a[']", &["6:9: `labels.skip` is no glob: unclosed character class; missing ']'"]),
        (
            "{GOOD}[mirrors]\nbackup = 'https://u:p@h/x.git'",
            &["6:10: `backup` holds credentials (use an SSH key or a credential helper of the account that runs rig)"],
        ),
        (
            "{GOOD}[mirrors]\n'a/b' = '/srv/x.git'",
            &["6:1: name of an entry in [mirrors] must be 1 to 63 letters, digits, `-` or `_`"],
        ),
        (
            "{GOOD}token_env = 'ghp_0123456789abcdefghij'",
            &["5:13: `forge.token_env` holds what looks like a token itself; it wants the name of the variable that \
               holds the token (put the token into state/env (0600), replace it if this file was ever shared)"],
        ),
        (
            "{GOOD}[review]\nmax_rounds = 2\n[limits]\nreview_rounds = 3",
            &[
                "6:1: `review.max_rounds` and `limits.review_rounds` mean the same and differ (keep limits.review_rounds)",
            ],
        ),
        (
            "repo = 'a/b'\nforge_url = 'https://git.example.org/api/v1/'\n[forge]\nbot = 'b'",
            &["2:1: `forge_url` names the API, not the forge (leave /api/v1 away)"],
        ),
        (
            "{GOOD}[ci]\nprovider = 'local'",
            &["6:1: `ci.provider` = \"local\" needs `ci.command` (such as command = \"make test\")"],
        ),
        (
            "{GOOD}[agent]\nkind = 'command'",
            &[
                "6:1: `agent.kind` = \"command\" needs `agent.ready_pattern`, which shows its empty input line \
                 (such as ready_pattern = \"^you> \")",
                "6:1: `agent.kind` = \"command\" needs `agent.command`, the program \
                 (such as command = \"/usr/local/bin/agent\")",
            ],
        ),
        (
            "{GOOD}[agent]\nkind = 'command'\ncommand = 'a'\nready_pattern = '('\nidle_time = '0s'",
            &[
                "8:17: `agent.ready_pattern` is no regular expression: unclosed group",
                "9:13: `agent.idle_time` must be at least 1ms",
            ],
        ),
        (
            "{GOOD}[agent]\nready_pattern = '^> '",
            &["6:1: `agent.ready_pattern` is for `agent.kind` = \"command\"; claude's own hooks tell (leave it out)"],
        ),
        (
            "{GOOD}[agent]\nenv_allow = ['FORGE_TOKEN']",
            &["6:1: `agent.env_allow` hands FORGE_TOKEN to the agent, which must not have rig's tokens \
               (git push works without it, through rig's credential helper)"],
        ),
        (
            "{GOOD}[review]\nreviewers = ['Dev-Bot']",
            &["6:1: `merge.required_approvals` is 1 and only 0 of `review.reviewers` can approve \
               (the author of a pull request, which is the bot, never counts)"],
        ),
        (
            "{GOOD}[limits]\nescalate_second = '1m'",
            &["escalation times must grow: escalate_reminder, escalate_second, escalate_timeout"],
        ),
        (
            "repo_root = '/nowhere/at/all'\n{GOOD}",
            &["1:1: `repo_root` /nowhere/at/all is no folder (leave it out, or clone there)"],
        ),
        (
            "repo_root = 'src'\n{GOOD}",
            &[
                "1:13: `repo_root` must be an absolute path or begin with `~/` (cron starts rig in another folder than you do)",
            ],
        ),
        (
            "enabled = true",
            &[
                "`repo` is missing (write it into the file: repo = \"acme/widget\", or set FORGE_REPO)",
                "`forge_url` is missing (write it into the file: forge_url = \"https://git.example.org\", or set FORGE_URL)",
                "`forge.bot` is missing (write it into the file: forge.bot = \"dev-bot\")",
            ],
        ),
        (
            "name = 'A b'\n{GOOD}",
            &["1:8: `name` must be a project name (1 to 63 of a-z, 0-9, `-`, `_`, beginning with a letter or digit)"],
        ),
        (
            "frge_url = 'https://x'\nrepo = 'a/b'\n[forge]\nbot = 'b'",
            &["1:1: unknown key `frge_url` (did you mean `forge_url`?)"],
        ),
    ];
    for (text, expected) in table {
        let root = TestRoot::new();
        let text = text.replace("{GOOD}", GOOD);
        root.project("widget", &text);
        assert_eq!(problems(&root, &[TOKEN]), *expected, "{text}");
    }
}

#[test]
fn a_missing_token_names_project_key_variable_and_file() {
    let root = TestRoot::new();
    root.project("widget", GOOD);
    let expected = "widget has no token: the variable FORGE_TOKEN of `forge.token_env` is not set \
                    (set FORGE_TOKEN, or write FORGE_TOKEN=... into state/env (chmod 600))";
    assert_eq!(problems(&root, &[]), [expected]);
    root.project("widget", &format!("{GOOD}token_env = \"OTHER\"\n"));
    assert!(problems(&root, &[TOKEN])[0].starts_with("5:1: widget has no token: the variable OTHER"));
}

#[test]
fn tokens_come_from_the_variables_that_are_named_and_must_differ() {
    let root = TestRoot::new();
    root.project("widget", &format!("{GOOD}review_token_env = \"R\"\npush_token_env = \"P\"\n"));
    let loaded = load(&root, &[TOKEN, ("R", "reviewer"), ("P", " push \n")]);
    let forge = &loaded.projects[0].forge;
    assert_eq!(forge.token.expose_secret(), TOKEN.1);
    assert_eq!(forge.push_token.expose_secret(), "push");
    assert_eq!(forge.review_token.as_ref().unwrap().expose_secret(), "reviewer");
    assert!(!format!("{loaded:?}").contains(TOKEN.1), "a token shows in Debug");
    let same = problems(&root, &[TOKEN, ("R", TOKEN.1), ("P", "p")]);
    assert!(same[0].contains("hold the same token") && !same[0].contains(TOKEN.1), "{same:?}");
    assert!(problems(&root, &[TOKEN, ("R", "a b"), ("P", "p")])[0].contains("holds white space"));
    assert_eq!(problems(&root, &[TOKEN]).len(), 2, "both missing tokens are told");
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let root = TestRoot::new();
    root.project("widget", GOOD);
    let loaded = load(&root, &[TOKEN]);
    let project = &loaded.projects[0];
    assert_eq!((project.name.as_str(), project.primary_branch.as_str(), project.enabled), ("widget", "main", true));
    assert_eq!(project.forge.push_token.expose_secret(), TOKEN.1);
    assert_eq!(project.agent.timeout, Duration::from_secs(7200));
    assert_eq!((project.agent.max_agents, project.agent.min_free_memory_mb), (1, 2000));
    assert_eq!(project.limits.review_rounds, 6);
    assert_eq!(project.review.timeout, Duration::from_secs(7 * 24 * 3600));
    assert_eq!(project.labels.in_progress, "in-progress");
    assert_eq!(project.unused_keys, Vec::<String>::new());
}

#[test]
fn the_file_wins_over_the_environment_and_that_over_defaults() {
    let root = TestRoot::new();
    root.project("widget", GOOD);
    let variables =
        [TOKEN, ("CLAUDE_TIMEOUT", "60"), ("FORGE_URL", "https://other.example.org"), ("PROJECT_NAME", "gadget")];
    let loaded = load(&root, &variables);
    assert_eq!(loaded.projects[0].agent.timeout, Duration::from_secs(60));
    assert_eq!(loaded.projects[0].forge_url, "https://git.example.org");
    assert_eq!(loaded.projects[0].name.as_str(), "gadget");
    root.project("widget", &format!("name = \"widget\"\n{GOOD}[agent]\ntimeout = \"1m30s\"\n"));
    root.env_file("CLAUDE_TIMEOUT=5\nexport FORGE_TOKEN='from the file'\n", 0o600);
    let loaded = load(&root, &variables);
    assert_eq!(loaded.projects[0].agent.timeout, Duration::from_secs(90));
    assert_eq!(loaded.projects[0].name.as_str(), "widget");
    assert_eq!(loaded.projects[0].forge.token.expose_secret(), TOKEN.1, "the process wins over state/env");
}

#[test]
fn the_agent_gets_allowed_variables_from_the_process_and_from_the_env_file() {
    let root = TestRoot::new();
    root.project("widget", &format!("{GOOD}[agent]\nenv_allow = ['ANTHROPIC_API_KEY', 'LC_ALL', 'UNSET']\n"));
    root.env_file("ANTHROPIC_API_KEY=key-of-the-file\nLC_ALL=C\nOTHER=x\n", 0o600);
    let loaded = load(&root, &[TOKEN, ("LC_ALL", "de_DE.UTF-8")]);
    let agent = &loaded.projects[0].agent;
    let given: Vec<_> = agent.env.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
    assert_eq!(given, [("ANTHROPIC_API_KEY", "key-of-the-file"), ("LC_ALL", "de_DE.UTF-8")]);
}

#[test]
fn the_api_address_of_the_shell_original_becomes_the_forges() {
    for api in ["https://git.example.org/api/v1", "https://git.example.org/api/v1/", "https://git.example.org"] {
        let root = TestRoot::new();
        root.project("widget", "repo = \"a/b\"\n[forge]\nbot = \"b\"\n");
        assert_eq!(load(&root, &[TOKEN, ("FORGE_API", api)]).projects[0].forge_url, "https://git.example.org");
    }
}

#[test]
fn what_describes_one_project_never_fills_another() {
    let only_bot = "forge_url = \"https://git.example.org\"\n[forge]\nbot = \"b\"\n";
    let root = TestRoot::new();
    root.project("widget", only_bot);
    let variables = [TOKEN, ("FORGE_REPO", "acme/widget"), ("PRIMARY_BRANCH", "trunk")];
    let loaded = load(&root, &variables);
    assert_eq!(loaded.projects[0].repository.to_string(), "acme/widget");
    assert_eq!(loaded.projects[0].primary_branch, "trunk");
    // An example without keys is no second project.
    root.project("example", "# repo = 1\n");
    assert_eq!(load(&root, &variables).projects.len(), 1);
    root.project("gadget", only_bot);
    let told = problems(&root, &variables);
    assert_eq!(told.len(), 4, "{told:?}");
    assert_eq!(
        told[0],
        "`repo` is missing, and environment FORGE_REPO counts only in a root with one project \
         (write repo into this file)"
    );
}

#[test]
fn a_variable_with_a_wrong_value_is_named() {
    let root = TestRoot::new();
    root.project("widget", GOOD).env_file("CLAUDE_TIMEOUT=soon\n", 0o600);
    let expected = "`agent.timeout` from state/env CLAUDE_TIMEOUT is wrong: `soon` is no length of time \
                    (the form is 90s, 2h, 1h30m or 500ms)";
    assert_eq!(problems(&root, &[TOKEN]), [expected]);
}

#[test]
fn a_broken_project_does_not_stop_the_others() {
    let root = TestRoot::new();
    root.project("broken", "repo = ").project("widget", GOOD).project("off", "enabled = false\n");
    std::fs::write(root.path().join("projects/bytes.toml"), b"\xff\xfe").unwrap();
    std::fs::write(root.path().join("projects/.#widget.toml"), "half").unwrap();
    let loaded = load(&root, &[TOKEN]);
    let names = |loaded: &Loaded| loaded.projects.iter().map(|project| project.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&loaded), ["widget"]);
    let broken: Vec<_> = loaded.problems.iter().map(|problem| problem.project.as_str()).collect();
    assert_eq!(broken, ["broken", "bytes"], "a broken project that is switched off is nobody's trouble");
}

#[test]
fn two_files_with_one_name_are_both_refused_and_both_named() {
    let root = TestRoot::new();
    root.project("a", &format!("name = \"same\"\n{GOOD}"))
        .project("same", &of_repository("same"))
        .project("other", &of_repository("other"));
    let loaded = load(&root, &[TOKEN]);
    assert_eq!(loaded.projects.len(), 1);
    let told = problems(&root, &[TOKEN]);
    assert_eq!(told.len(), 2);
    for problem in told {
        assert!(problem.contains("`same` is used by projects/a.toml and projects/same.toml"), "{problem}");
    }
}

#[test]
fn a_projects_folder_that_cannot_be_read_is_not_an_empty_one() {
    let root = TestRoot::new();
    std::fs::remove_dir(root.path().join("projects")).unwrap();
    assert!(load(&root, &[TOKEN]).problems.is_empty(), "a missing folder has no projects");
    std::fs::write(root.path().join("projects"), "").unwrap();
    assert_eq!(problems(&root, &[TOKEN]), ["cannot be read: Not a directory (os error 20)"]);
    root.rig(&["--root", ".", "config", "check"]).assert().code(1).stderr(contains("projects: cannot be read"));
}

#[test]
fn a_state_folder_that_rig_may_not_use_is_told_with_the_remedy() {
    let root = TestRoot::new();
    let state = root.path().join("state");
    // Root may write anywhere, so for root it is another user's folder, for others a read-only one.
    let expected = if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&state, Some(65_534), Some(65_534)).unwrap();
        ["belongs to user 65534, and rig runs as user 0", "chown -R 0 "]
    } else {
        std::fs::set_permissions(&state, std::os::unix::fs::PermissionsExt::from_mode(0o500)).unwrap();
        ["cannot be written", "chmod u+rwx "]
    };
    let outcome = root.rig(&["dev", "start"]).assert();
    outcome.code(1).stderr(contains(expected[0]).and(contains(expected[1])));
    assert!(!state.join(".dev-active").exists());
}

proptest::proptest! {
    /// Whatever is in a file, reading it ends, and every problem lies within it.
    #[test]
    fn any_text_is_read_and_every_problem_has_a_place_in_it(
        text in "(\\[|\\]|=|\"|'|\n|#|,|\\{|\\}|\\.|name|repo|forge|agent|timeout|mirrors|a|1|true| |ü|\\PC){0,60}"
    ) {
        let document = config::document::read(Path::new("x.toml"), &text);
        for problem in &document.problems {
            let place = problem.place.unwrap();
            proptest::prop_assert!(place.line <= text.matches('\n').count() + 1, "{problem}");
        }
    }

    /// Whatever is in `state/env`, no part of a value is told.
    #[test]
    fn no_problem_of_the_env_file_quotes_it(text in "(HUNTER2|=|\"|'|\n|#|export| |\\\\|\\PC){0,40}") {
        let root = TestRoot::new();
        root.env_file(&text, 0o600);
        let told = Environment::default().with_file(&root.root()).err().unwrap_or_default();
        proptest::prop_assert!(told.iter().all(|problem| !problem.message.contains("HUNTER2")));
    }
}

#[test]
fn two_projects_of_one_repository_are_both_worked_on_and_have_one_key() {
    let root = TestRoot::new();
    let same = GOOD.replace("acme/widget", "Acme/Widget").replace("example.org", "example.org/");
    root.project("a", GOOD).project("b", &same).project("c", &GOOD.replace("acme/widget", "acme/gadget"));
    let loaded = load(&root, &[TOKEN]);
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    let keys: Vec<_> = loaded.projects.iter().map(|project| project.key()).collect();
    assert!(keys.len() == 3 && keys[0] == keys[1] && keys[1] != keys[2], "{keys:?}");
}

#[test]
fn keys_that_are_not_acted_on_are_listed_when_they_ask_for_something() {
    let root = TestRoot::new();
    let later = "[matrix]\nroom_id = \"!r:x\"\nstream = \"none\"\n[merge]\nwhen_behind = \"rebase\"\nmethod = \"squash\"\n[agent]\nuser = \"agents\"\n";
    root.project("widget", &format!("{GOOD}{later}[review]\nmax_rounds = 4\n[guard]\n"));
    let loaded = load(&root, &[TOKEN, ("MATRIX_HOMESERVER", "https://m.example.org")]);
    assert_eq!(loaded.projects[0].unused_keys, ["[agent] user"]);
    assert_eq!(loaded.projects[0].limits.review_rounds, 4);
    root.project("widget", &format!("{GOOD}[matrix]\nroom_id = \"!r:x\"\nhomeserver = \"https://m.example.org\"\n"));
    let nobody_is_there: &[&str] = if cfg!(feature = "matrix") { &[] } else { &["[matrix] homeserver"] };
    assert_eq!(load(&root, &[TOKEN]).projects[0].unused_keys, nobody_is_there);
}

#[test]
fn the_one_project_is_found_by_name_or_by_being_alone() {
    let root = TestRoot::new();
    let (folder, name) = (root.root(), |text: &str| text.parse().unwrap());
    let told = |result: Result<_, config::LoadError>| {
        let error = result.unwrap_err();
        format!("{error} ({})", error.hint())
    };
    assert!(told(config::one_name(&folder, None)).starts_with("there is no project in "));
    root.project("widget", GOOD);
    assert_eq!(config::one_name(&folder, None).unwrap().as_str(), "widget");
    root.project("gadget", &of_repository("gadget"));
    assert_eq!(
        told(config::one_name(&folder, None)),
        "there are several projects: gadget, widget (say which with --project)"
    );
    assert_eq!(config::one_name(&folder, Some(&name("gadget"))).unwrap().as_str(), "gadget");
    assert_eq!(
        told(config::one_name(&folder, Some(&name("wigdet")))),
        "there is no project `wigdet` (did you mean `widget`?)"
    );
    let only = [name("wigdet"), name("widget")];
    let loaded = config::load_with(&folder, &only, Environment::of(&[TOKEN]));
    assert_eq!((loaded.projects.len(), loaded.problems.len()), (1, 1));
}

/// Returns the text of the example with every key made active.
fn uncommented_example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("projects/example.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let active = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()) => rest.to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(active).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_has_every_key_with_its_default_and_no_other() {
    let text = uncommented_example();
    let document = config::document::read(Path::new("example.toml"), &text);
    assert_eq!(document.problems, []);
    for key in schema::KEYS {
        let (value, _) =
            document.values.get(&key.path()).unwrap_or_else(|| panic!("{} is not in the example", key.path()));
        if let Some(default) = key.default {
            let written = format!("{} = {default}", key.name);
            assert!(text.lines().any(|line| line == written), "{written} is not in the example, but {value}");
        }
    }
    let table: toml::Table = text.parse().unwrap();
    assert!(schema::tables().iter().all(|name| table.contains_key(*name)), "a table is not in the example");
}

#[test]
fn the_example_as_it_is_is_no_project() {
    let root = TestRoot::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("projects/example.toml");
    std::fs::copy(example, root.path().join("projects/example.toml")).unwrap();
    let loaded = load(&root, &[TOKEN]);
    assert!(loaded.projects.is_empty() && loaded.problems.is_empty());
}

/// Returns the keys of the reference with their defaults: the rows of its tables, by the heading above them.
fn documented_keys() -> BTreeSet<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let text = std::fs::read_to_string(path).unwrap();
    let keys = text.split("## The keys").nth(1).unwrap().split("\n## ").next().unwrap();
    let (mut table, mut found) = (String::new(), BTreeSet::new());
    for line in keys.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            table = heading.trim_matches(|c| "`[]".contains(c)).replace("Above the first table", "");
        } else if line.starts_with("| `") {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let name = cells[1].trim_matches('`').replace("NAME", "");
            let path = [table.as_str(), name.as_str()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
            found.insert((path.join("."), cells[3].trim_matches('`').to_owned()));
        }
    }
    found
}

#[test]
fn the_reference_has_every_key_with_its_default_and_no_other() {
    let default = |key: &schema::Key| match (key.default, key.required, key.name) {
        (Some(text), ..) => text.to_owned(),
        (None, true, _) => "required".to_owned(),
        (None, false, "name") => "file name".to_owned(),
        (None, false, _) => "unset".to_owned(),
    };
    let schema: BTreeSet<_> = schema::KEYS.iter().map(|key| (key.path(), default(key))).collect();
    assert_eq!(documented_keys(), schema);
}

#[test]
fn every_variable_that_is_read_is_in_the_module_and_in_the_reference() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let reference = std::fs::read_to_string(manifest.join("docs/configuration.md")).unwrap();
    let known: BTreeSet<&str> = config::environment::VARIABLES.iter().map(|(name, _)| *name).collect();
    for name in &known {
        assert!(reference.contains(&format!("| `{name}` |")), "{name} is not in docs/configuration.md");
    }
    for key in schema::KEYS {
        assert!(key.variables.iter().all(|name| known.contains(name)), "{}", key.path());
    }
    let pattern = regex::Regex::new(r#"(?:var|var_os)\("([A-Z_0-9]+)"\)|env = "([A-Z_0-9]+)""#).unwrap();
    for (file, text) in crate::architecture::source_files() {
        for found in pattern.captures_iter(&text) {
            let name = found.get(1).or(found.get(2)).unwrap().as_str();
            assert!(known.contains(name), "{file} reads {name}, which config/environment.rs does not list");
        }
    }
}

#[test]
fn config_show_says_where_each_value_is_from_and_shows_no_secret() {
    let root = TestRoot::new();
    root.project("widget", GOOD).env_file("FORGE_TOKEN=hunter2\nCLAUDE_TIMEOUT=90\n", 0o600);
    root.rig(&["config", "show"]).assert().success().stdout(
        contains("widget.toml:1")
            .and(contains("\"FORGE_TOKEN\"  set (from FORGE_TOKEN in state/env)"))
            .and(predicate::str::is_match(r#"agent\.timeout +"1m30s" +state/env CLAUDE_TIMEOUT"#).unwrap())
            .and(predicate::str::is_match(r"merge\.required_approvals +1 +default").unwrap())
            .and(predicate::str::is_match(r#"name +"widget" +name of the file"#).unwrap())
            .and(contains("hunter2").not()),
    );
    let output = root.rig(&["config", "show", "--project", "widget", "--json"]).assert().success();
    let document: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    let settings = document["settings"].as_array().unwrap();
    assert_eq!(settings.len(), schema::KEYS.len());
    assert!(settings.iter().any(|it| it["key"] == "agent.timeout" && it["source"] == "state/env CLAUDE_TIMEOUT"));
    assert!(!document.to_string().contains("hunter2"));
}

#[test]
fn config_check_reports_all_files_and_exits_with_one() {
    let root = TestRoot::new();
    root.rig(&["config", "check"]).assert().success().stderr(contains("no project in"));
    root.project("widget", GOOD).env_file("FORGE_TOKEN=x\n", 0o600);
    root.rig(&["config", "check"]).assert().success().stdout(contains("ok  ").and(contains("(widget)")));
    root.project("gadget", "reop = 1\n").project("broken", "=");
    root.rig(&["config", "check"]).assert().code(1).stdout(contains("ok  ").and(contains("wrong  "))).stderr(
        contains("gadget.toml:1:1: unknown key `reop`")
            .and(contains("did you mean `repo`?"))
            .and(contains("broken.toml:1:1")),
    );
    let output = root.rig(&["config", "check", "--json"]).assert().code(1);
    let lines: Vec<serde_json::Value> = output
        .get_output()
        .stdout
        .split(|b| *b == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let (last, lines) = lines.split_last().unwrap();
    assert_eq!((&last["error"], &last["exit"]), (&"something is wrong with broken, gadget".into(), &1.into()));
    let told: Vec<_> =
        lines.iter().map(|line| (line["project"].as_str().unwrap(), line["ok"].as_bool().unwrap())).collect();
    assert_eq!(told, [("broken", false), ("gadget", false), ("widget", true)]);
}

#[test]
fn an_open_env_file_is_refused_with_the_remedy() {
    let root = TestRoot::new();
    root.project("widget", GOOD).env_file("FORGE_TOKEN=hunter2\n", 0o644);
    root.rig(&["config", "check"])
        .assert()
        .code(1)
        .stderr(contains("open to other users (mode 0644)").and(contains("chmod 600 ")).and(contains("hunter2").not()));
}

#[test]
fn a_root_that_is_not_there_is_told_with_the_remedy() {
    let root = TestRoot::new();
    for command in [root.rig(&["--root", "gone", "status"]), {
        let mut command = root.rig(&["status"]);
        command.env("RIG_ROOT", "gone");
        command
    }] {
        let mut command = command;
        command.assert().code(1).stderr(contains("gone does not exist").and(contains("mkdir -p ")));
    }
}

#[test]
fn the_switch_goes_on_and_off_and_repeats_are_harmless() {
    let root = TestRoot::new();
    root.project("widget", GOOD).project("off", &format!("enabled = false\n{GOOD}")).project("broken", "=");
    root.env_file("FORGE_TOKEN=x\n", 0o600);
    let switch = root.path().join("state/.dev-active");
    root.rig(&["dev", "start"])
        .assert()
        .success()
        .stdout(contains("the dev loop is on").and(contains("projects: widget")).and(contains("files: off")))
        .stderr(contains("warning: ").and(contains("broken.toml:1:1")));
    assert!(switch.exists());
    let output = root.rig(&["dev", "start", "--json"]).assert().success();
    let document: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!((&document["switch"], &document["changed"]), (&"on".into(), &false.into()));
    assert_eq!(document["projects"], serde_json::json!(["widget"]));
    root.rig(&["status"]).assert().success().stdout(contains("dev loop of ").and(contains(": on\n")));
    root.rig(&["dev", "stop"]).assert().success().stdout(contains("the dev loop is off"));
    assert!(!switch.exists());
    root.rig(&["dev", "stop", "--json"]).assert().success().stdout("{\"changed\":false,\"switch\":\"off\"}\n");
}

#[test]
fn the_switch_makes_a_private_state_folder_in_the_data_folder() {
    use std::os::unix::fs::PermissionsExt;
    let root = TestRoot::new();
    root.rig(&["dev", "start"]).current_dir(root.home()).assert().success().stderr(contains("no project to work on"));
    let state = root.home().join(".local/share/rig/state");
    assert_eq!(std::fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(state.join(".dev-active").exists());
}
