//! Mirrors on other servers: over HTTP with a token from the environment, and over ssh with a key of the user's.

use crate::by_hand_support::{World, until};
use crate::forge_support::git;
use crate::ports::port_to_give;
use predicates::{prelude::*, str::contains};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    net::TcpStream,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A good deal less than the minute that rig waits for a mirror that says nothing.
const QUICK: Duration = Duration::from_secs(30);

fn with_mirror(world: &World, lines: &str) {
    world.root.project("widget", &format!("{}[mirrors]\n{lines}", world.project_text("acme/widget", "")));
}

fn tip(world: &World) -> String {
    let branch = world.api("acme", "GET", "/repos/acme/widget/branches/main", Value::Null);
    branch["commit"]["id"].as_str().unwrap().to_owned()
}

/// Makes a tag `v1` at the tip of the primary branch.
fn tag(world: &World) {
    let url = world.url.replace("http://", &format!("http://acme:{}@", world.tokens["acme"]));
    let home = world.root.home();
    assert!(git(&home, &["clone", "--quiet", &format!("{url}/acme/widget.git"), "tagged"]).status.success());
    assert!(git(&home.join("tagged"), &["tag", "v1"]).status.success());
    assert!(git(&home.join("tagged"), &["push", "--quiet", "origin", "v1"]).status.success());
}

#[test]
fn a_mirror_over_http_is_opened_by_the_token_from_the_environment_and_by_no_other() {
    let mut world = World::with_forge_only();
    assert!(world.stop_forge().is_some_and(|code| code == 0));
    world.serve("127.0.0.1:0", &["--user", "mirror-bot", "--new-token", "mirror-bot"]);
    world.api("mirror-bot", "POST", "/user/repos", json!({ "name": "copy", "private": true }));
    tag(&world);
    let url = format!("{}/mirror-bot/copy.git", world.url);
    with_mirror(&world, &format!("copy = \"{url}\"\n[mirror_tokens]\ncopy = \"MIRROR_TOKEN\"\n"));
    // The bot's own token does not reach the mirror, though the server would know it.
    world.env(&[("MIRROR_TOKEN", "0123456789012345678901234567890123456789")]);
    let (code, lines) = world.json(&["mirror", "push"]);
    assert_eq!((code, lines[0]["state"].as_str()), (3, Some("behind")), "{lines:?}");
    world.env(&[("MIRROR_TOKEN", &world.tokens["mirror-bot"])]);
    let (code, lines) = world.json(&["mirror", "push"]);
    assert_eq!((code, lines[0]["state"].as_str()), (0, Some("pushed")), "{lines:?}");
    let copy = |path: &str| world.api("mirror-bot", "GET", &format!("/repos/mirror-bot/copy{path}"), Value::Null);
    assert_eq!(copy("/branches/main")["commit"]["id"], tip(&world));
    let cloned = url.replace("http://", &format!("http://mirror-bot:{}@", world.tokens["mirror-bot"]));
    let tags = git(&world.root.home(), &["ls-remote", "--tags", &cloned]);
    assert!(String::from_utf8_lossy(&tags.stdout).contains("refs/tags/v1"));
}

/// An sshd of the test's own, for the user who runs it.
struct Sshd {
    child: Child,
    port: u16,
    folder: PathBuf,
    user: String,
}

impl Sshd {
    /// Starts it on a free port; `None` where no sshd is installed.
    fn start(folder: &Path) -> Option<Self> {
        let program = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"].into_iter().find(|path| Path::new(path).is_file());
        let Some(program) = program else {
            let required = std::env::var("RIG_TEST_REQUIRE").is_ok_and(|value| value == "1");
            assert!(!required, "RIG_TEST_REQUIRE=1, and no sshd is installed (openssh-server)");
            let said = "LEFT OUT: no sshd is installed (openssh-server), so that no mirror over ssh is tried\n";
            std::io::stderr().write_all(said.as_bytes()).unwrap();
            return None;
        };
        fs::DirBuilder::new().mode(0o700).create(folder).unwrap();
        for name in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(folder.join(name))
                .status();
            assert!(made.unwrap().success());
        }
        fs::copy(folder.join("user.pub"), folder.join("authorized")).unwrap();
        // Root's sshd wants it, and only a service of the system makes it.
        let _ = fs::DirBuilder::new().mode(0o755).create("/run/sshd");
        let port = port_to_give();
        let at = |name: &str| folder.join(name).display().to_string();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n",
            at("host"),
            at("authorized")
        );
        fs::write(folder.join("sshd_config"), config).unwrap();
        let log = fs::File::create(folder.join("log")).unwrap();
        let mut command = Command::new(program);
        command.args(["-D", "-e", "-f"]).arg(folder.join("sshd_config")).stdin(Stdio::null()).stderr(log);
        let mut child = command.spawn().unwrap();
        until("sshd listens", || {
            assert!(child.try_wait().unwrap().is_none(), "{}", fs::read_to_string(folder.join("log")).unwrap());
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        let user = Command::new("id").arg("-un").output().unwrap();
        let user = String::from_utf8(user.stdout).unwrap().trim().to_owned();
        Some(Self { child, port, folder: folder.to_owned(), user })
    }

    /// Makes the user's git use the test's key, and only the hosts that the test calls known.
    fn configure_git(&self, home: &Path) {
        let config = format!(
            "Host *\nIdentityFile {0}/user\nIdentitiesOnly yes\nUserKnownHostsFile {0}/known\nGlobalKnownHostsFile /dev/null\n",
            self.folder.display()
        );
        fs::write(self.folder.join("ssh_config"), config).unwrap();
        fs::set_permissions(self.folder.join("ssh_config"), fs::Permissions::from_mode(0o600)).unwrap();
        let command = format!("[core]\n\tsshCommand = ssh -F {}/ssh_config\n", self.folder.display());
        fs::write(home.join(".gitconfig"), command).unwrap();
    }

    fn know_host(&self) {
        let key = fs::read_to_string(self.folder.join("host.pub")).unwrap();
        fs::write(self.folder.join("known"), format!("[127.0.0.1]:{} {key}", self.port)).unwrap();
    }

    fn url(&self, repository: &Path) -> String {
        format!("ssh://{}@127.0.0.1:{}{}", self.user, self.port, repository.display())
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_mirror_over_ssh_is_pushed_to_and_one_whose_host_nobody_knows_asks_no_question() {
    let world = World::with_forge_only();
    let home = world.root.home();
    let Some(sshd) = Sshd::start(&home.join("sshd")) else { return };
    sshd.configure_git(&home);
    world.env(&[]);
    tag(&world);
    assert!(git(&home, &["init", "--quiet", "--bare", "--initial-branch=main", "copy.git"]).status.success());
    let copy = home.join("copy.git");
    with_mirror(&world, &format!("copy = \"{}\"\n", sshd.url(&copy)));
    let began = Instant::now();
    let refused = world.rig(&["mirror", "push"]).code(3);
    refused.stdout(contains("Host key verification failed").and(contains("behind")));
    assert!(began.elapsed() < QUICK, "it waited for an answer: {:?}", began.elapsed());
    sshd.know_host();
    world.rig(&["mirror", "push"]).success().stdout(contains("pushed"));
    let has = |name: &str| {
        let output = git(&copy, &["rev-parse", "--quiet", "--verify", name]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!((has("refs/heads/main"), has("refs/tags/v1")), (tip(&world), tip(&world)));
}
