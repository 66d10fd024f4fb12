//! A real Synapse on a free port of this machine, with its data in a temporary folder; started, stopped and started again as a
//! test wants. `scripts/synapse` installs it. Where it is not installed a test says so and passes, unless RIG_TEST_REQUIRE=1.

use crate::ports::port_to_give;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Time that a homeserver may take to start on a busy machine.
const START: Duration = Duration::from_secs(180);

/// Name of the server in accounts and rooms.
pub(crate) const SERVER_NAME: &str = "rig.test";

pub(crate) struct Synapse {
    folder: tempfile::TempDir,
    python: PathBuf,
    port: u16,
    process: Option<Child>,
}

/// Somebody with an account, by the plain client API.
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) password: String,
    pub(crate) token: String,
    pub(crate) url: String,
}

impl Synapse {
    /// Returns a running homeserver, or none where none is installed.
    #[expect(clippy::print_stderr, reason = "a test that is left out says so")]
    pub(crate) fn start_or_skip() -> Option<Self> {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/synapse/bin/python");
        if !python.with_file_name("synapse_homeserver").is_file() {
            let required = std::env::var_os("RIG_TEST_REQUIRE").is_some_and(|value| value == "1");
            assert!(!required, "RIG_TEST_REQUIRE=1 and no Synapse: run scripts/synapse");
            eprintln!("SKIPPED: no Synapse here; scripts/synapse installs one");
            return None;
        }
        let port = port_to_give();
        let mut synapse = Self { folder: tempfile::tempdir().unwrap(), python, port, process: None };
        synapse.configure();
        synapse.start();
        Some(synapse)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn configure(&self) {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let much = json!({ "per_second": 1_000_000, "burst_count": 1_000_000 });
        let config = json!({
            "server_name": SERVER_NAME,
            "public_baseurl": self.url(),
            "listeners": [{ "port": self.port, "bind_addresses": ["127.0.0.1"], "type": "http", "tls": false,
                            "resources": [{ "names": ["client"] }] }],
            "database": { "name": "sqlite3", "args": { "database": path("homeserver.db") } },
            "media_store_path": path("media"),
            "signing_key_path": path("signing.key"),
            "pid_file": path("pid"),
            "registration_shared_secret": "for tests",
            "macaroon_secret_key": "for tests",
            "form_secret": "for tests",
            "report_stats": false,
            "trusted_key_servers": [],
            "federation_domain_whitelist": [],
            "presence": { "enabled": false },
            "bcrypt_rounds": 4,
            "rc_message": much,
            "rc_registration": much,
            "rc_login": { "address": much, "account": much, "failed_attempts": much },
            "rc_joins": { "local": much, "remote": much },
            "rc_invites": { "per_room": much, "per_user": much, "per_issuer": much },
            "rc_room_creation": much,
        });
        // JSON is YAML.
        std::fs::write(self.folder.path().join("hs.yaml"), config.to_string()).unwrap();
        let made = self.command().arg("--generate-keys").status().unwrap();
        assert!(made.success(), "Synapse makes no keys");
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.python);
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        command.args(["-m", "synapse.app.homeserver", "-c", "hs.yaml"]).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command
    }

    /// Starts it, again on the same port and with the same data.
    pub(crate) fn start(&mut self) {
        self.process = Some(self.command().spawn().unwrap());
        let deadline = Instant::now() + START;
        let health = format!("{}/health", self.url());
        while ask("GET", &health, "", &Value::Null).is_none_or(|(status, _)| status != 200) {
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let runs = self.process.as_mut().unwrap().try_wait().unwrap().is_none();
            assert!(runs && Instant::now() < deadline, "Synapse does not start:\n{}", log());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Ends it at once, as a machine that fails does.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Registers an account and logs it in.
    pub(crate) fn person(&self, name: &str) -> Person {
        let url = format!("{}/_synapse/admin/v1/register", self.url());
        let (_, nonce) = ask("GET", &url, "", &Value::Null).unwrap();
        let (nonce, password) = (nonce["nonce"].as_str().unwrap(), format!("pw of {name} 7Hq"));
        let mac = hmac_sha1(b"for tests", format!("{nonce}\0{name}\0{password}\0notadmin").as_bytes());
        let body = json!({ "nonce": nonce, "username": name, "password": password, "admin": false, "mac": mac });
        let (_, answer) = ask("POST", &url, "", &body).unwrap();
        let text = |key: &str| answer[key].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        Person { id: text("user_id"), token: text("access_token"), password, url: self.url() }
    }
}

impl Drop for Synapse {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Person {
    /// Calls the client API; panics when it is refused.
    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let url = format!("{}/_matrix/client/v3/{path}", self.url);
        let (status, value) = ask(method, &url, &self.token, body).unwrap();
        assert_eq!(status, 200, "{method} {path}: {value}");
        value
    }

    /// Makes a room and invites people. Returns its id.
    pub(crate) fn room(&self, invited: &[&Person], encrypted: bool) -> String {
        let people: Vec<&str> = invited.iter().map(|person| person.id.as_str()).collect();
        let encryption = json!([{ "type": "m.room.encryption", "state_key": "",
                                  "content": { "algorithm": "m.megolm.v1.aes-sha2" } }]);
        let state = if encrypted { encryption } else { json!([]) };
        let body = json!({ "invite": people, "preset": "private_chat", "initial_state": state });
        self.call("POST", "createRoom", &body)["room_id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn join(&self, room: &str) {
        self.call("POST", &format!("join/{}", encoded(room)), &json!({}));
    }

    /// Sends an event. Returns its id.
    pub(crate) fn send(&self, room: &str, kind: &str, content: &Value) -> String {
        let path = format!("rooms/{}/send/{kind}/{}", encoded(room), rand(content));
        self.call("PUT", &path, content)["event_id"].as_str().unwrap().to_owned()
    }

    /// Writes into the room itself.
    pub(crate) fn say(&self, room: &str, text: &str) -> String {
        self.send(room, "m.room.message", &json!({ "msgtype": "m.text", "body": text }))
    }

    /// Writes into a thread, as a client does.
    pub(crate) fn reply(&self, room: &str, root: &str, text: &str) -> String {
        let relation = json!({ "rel_type": "m.thread", "event_id": root, "is_falling_back": false,
                               "m.in_reply_to": { "event_id": root } });
        self.send(room, "m.room.message", &json!({ "msgtype": "m.text", "body": text, "m.relates_to": relation }))
    }

    pub(crate) fn redact(&self, room: &str, event: &str) {
        let path = format!("rooms/{}/redact/{}/{}", encoded(room), encoded(event), rand(&json!(event)));
        self.call("PUT", &path, &json!({}));
    }

    /// Returns the room's events, oldest first.
    pub(crate) fn events(&self, room: &str) -> Vec<Value> {
        let (mut events, mut from) = (Vec::new(), String::new());
        loop {
            let path = format!("rooms/{}/messages?dir=f&limit=500{from}", encoded(room));
            let page = self.call("GET", &path, &Value::Null);
            let chunk = page["chunk"].as_array().unwrap().clone();
            let is_last = chunk.is_empty();
            events.extend(chunk);
            match page["end"].as_str().filter(|_| !is_last) {
                Some(end) => from = format!("&from={end}"),
                None => return events,
            }
        }
    }

    /// Returns the messages that somebody wrote in a room, oldest first.
    pub(crate) fn messages_of(&self, room: &str, sender: &str) -> Vec<Value> {
        let is_theirs = |event: &Value| event["sender"] == sender && event["type"] == "m.room.message";
        self.events(room).into_iter().filter(is_theirs).collect()
    }
}

/// Makes one request; `None` when nobody answers.
fn ask(method: &str, url: &str, token: &str, body: &Value) -> Option<(u16, Value)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        let mut request = client.request(method.parse().unwrap(), url);
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if !body.is_null() {
            request = request.json(body);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.unwrap_or_default()))
    })
}

/// Returns a number that is another one for each content and each call.
fn rand(content: &Value) -> u64 {
    static CALLS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let call = CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let digest = Sha256::digest(format!("{call} {content}").as_bytes());
    digest.iter().take(7).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Synapse's registration is signed with SHA-1, which nothing else here needs: its own python does it.
fn hmac_sha1(key: &[u8], message: &[u8]) -> String {
    let python = "import hmac,hashlib,sys;d=sys.stdin.buffer.read();k,m=d.split(b'\\x01',1);\
                  print(hmac.new(k,m,hashlib.sha1).hexdigest())";
    let mut child =
        Command::new("python3").args(["-c", python]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let input = [key, b"\x01", message].concat();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &input).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}
