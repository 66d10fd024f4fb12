//! A root with a forge, a homeserver with a room, and people in it.

use crate::{
    by_hand_support::{PATIENCE, World, end, until},
    synapse_support::{Person, Synapse},
};
use serde_json::Value;

/// What the agent says at the end of a turn: a paragraph, then more, and something that it should not have said.
pub(super) const SAID: [&str; 2] = ["It listens on 8080 now.", "I looked at <config> first"];
pub(super) const GIVEN_AWAY: &str = "ghp_Zm9vYmFyYmF6cXV4cXV1eGNvcmdlZ3JhdWx0";

/// The agent asks in issues that say so, works in others until it may stop, and does what it is told.
const SCRIPT: &str = r#"{ "version": 1, "rules": [
    { "contains": "CI passed at", "repeat": true, "actions": [ { "run": "echo PHASE:awaiting_review > \"$PHASE_FILE\"" } ] },
    { "contains": "use port", "repeat": true, "actions": [
        { "run": "echo 8080 > work-$RIG_ISSUE.txt && git add -A && git commit -qm Work && git push -q -u origin HEAD" },
        { "say": "It listens on 8080 now.\n\nI looked at <config> first, with ghp_Zm9vYmFyYmF6cXV4cXV1eGNvcmdlZ3JhdWx0." },
        { "run": "echo PHASE:awaiting_ci > \"$PHASE_FILE\"" } ] },
    { "contains": "Title: Busy", "actions": [
        { "wait_until": { "command": "test -e \"$RIG_ROOT/go\"", "timeout_secs": 600 } },
        { "run": "echo $RIG_ISSUE > work-$RIG_ISSUE.txt && git add -A && git commit -qm Work && git push -q -u origin HEAD" } ] },
    { "contains": "Title: Ask", "actions": [
        { "run": "printf 'PHASE:escalate\nReason: which port?\n' > \"$PHASE_FILE\"" } ] },
    { "contains": "Title: ", "actions": [
        { "run": "echo $RIG_ISSUE > work-$RIG_ISSUE.txt && git add -A && git commit -qm Work && git push -q -u origin HEAD" },
        { "run": "echo PHASE:awaiting_ci > \"$PHASE_FILE\"" } ] } ] }"#;

pub(super) struct MatrixWorld {
    pub(super) world: World,
    pub(super) synapse: Synapse,
    pub(super) bot: Person,
    /// May speak.
    pub(super) ann: Person,
    /// Is in the room, and may not.
    pub(super) bob: Person,
    pub(super) room: String,
}

impl MatrixWorld {
    /// Returns a world whose bot is logged in and invited; none where there is no homeserver.
    pub(super) fn new(encrypted: bool, more: &str) -> Option<Self> {
        let synapse = Synapse::start_or_skip()?;
        let (bot, ann, bob) = (synapse.person("rig"), synapse.person("ann"), synapse.person("bob"));
        let room = ann.room(&[&bot, &bob], encrypted);
        bob.join(&room);
        let world = World::new();
        std::fs::write(world.root.path().join("script.json"), SCRIPT).unwrap();
        let new = Self { world, synapse, bot, ann, bob, room };
        let matrix = new.settings(more);
        new.world.project("widget", "acme/widget", &matrix);
        new.login();
        Some(new)
    }

    /// Returns the `[matrix]` table of the project.
    pub(super) fn settings(&self, more: &str) -> String {
        format!(
            "[matrix]\nhomeserver = \"{}\"\nroom_id = \"{}\"\nbot_user = \"{}\"\nmention_user = \"{ann}\"\nallowed_users = [\"{ann}\"]\n{more}\n",
            self.synapse.url(),
            self.room,
            self.bot.id,
            ann = self.ann.id,
        )
    }

    pub(super) fn login(&self) {
        let mut command = self.world.root.rig(&["matrix", "login"]);
        command.write_stdin(format!("{}\n", self.bot.password)).timeout(PATIENCE).assert().success();
    }

    /// Returns the process that is the bridge of this root.
    pub(super) fn bridge(&self) -> Option<u32> {
        let lock = std::fs::read_to_string(self.world.root.path().join("state/matrix/bridge.lock")).ok()?;
        let id: u32 = lock.trim().strip_prefix("pid ")?.parse().ok()?;
        let line = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
        // A test that leads a bridge itself stands in that file too, and is none to be ended.
        let is_bridge = id != std::process::id() && line.split(|byte| *byte == 0).any(|part| part == b"matrix");
        is_bridge.then_some(id)
    }

    pub(super) fn kill_bridge(&self) {
        if let Some(id) = self.bridge() {
            end(id, "KILL");
            // Another may be there at once: whoever has something to say starts it.
            until("the bridge is gone", || (self.bridge() != Some(id)).then_some(()));
        }
    }

    /// Returns what the bot wrote, oldest first.
    pub(super) fn told(&self) -> Vec<Value> {
        self.ann.messages_of(&self.room, &self.bot.id)
    }

    /// Waits for a message of the bot that contains some words.
    pub(super) fn until_told(&self, words: &str) -> Value {
        until(&format!("the room is told `{words}`"), || {
            self.told().into_iter().find(|event| body(event).contains(words))
        })
    }

    /// Returns the thread of an issue's run: the first message that names it.
    pub(super) fn thread(&self, issue: u64) -> String {
        let root = self.until_told(&format!("widget #{issue}: "));
        assert!(root["content"]["m.relates_to"].is_null(), "{root}");
        root["event_id"].as_str().unwrap().to_owned()
    }

    /// Waits until the issue is closed by its merged pull request; reviews what is green.
    pub(super) fn until_merged(&self, issue: u64) {
        until("the issue is closed", || {
            self.world.approve_green();
            let state = self.world.api("acme", "GET", &format!("/repos/acme/widget/issues/{issue}"), Value::Null);
            (state["state"] == "closed").then_some(())
        });
    }

    /// Returns the messages that were brought to the agent.
    pub(super) fn inbox(&self, issue: u64) -> Vec<String> {
        let folder = self.world.root.path().join(format!("state/run/widget/{issue}/inbox"));
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        // One that is still being written has another name, and loses it.
        let messages = files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|kind| kind == "md"));
        messages.filter_map(|path| std::fs::read_to_string(path).ok()).collect()
    }

    /// Returns what the bot wrote in a thread, oldest first.
    pub(super) fn told_in(&self, root: &str) -> Vec<String> {
        let told = self.told();
        told.iter().filter(|event| thread_of(event) == Some(root)).map(|event| body(event).to_owned()).collect()
    }

    /// Waits until a message of a person has the mark that the session has it.
    pub(super) fn until_confirmed(&self, message: &str) {
        until("the answer is confirmed", || (self.confirmations(message) > 0).then_some(()));
    }

    /// Returns how many marks of the bot a message has.
    pub(super) fn confirmations(&self, message: &str) -> usize {
        let events = self.ann.events(&self.room);
        let marks =
            |event: &&Value| event["type"] == "m.reaction" && event["content"]["m.relates_to"]["event_id"] == message;
        events.iter().filter(marks).count()
    }

    pub(super) fn poll(&self) {
        self.world.rig(&["dev", "poll"]).success();
    }
}

impl Drop for MatrixWorld {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log =
                std::fs::read_to_string(self.world.root.path().join("state/matrix/bridge.log")).unwrap_or_default();
            let rig = std::fs::read_to_string(self.world.root.path().join("state/log/rig.log")).unwrap_or_default();
            let lines: Vec<&str> = rig.lines().collect();
            let last = lines[lines.len().saturating_sub(40)..].join("\n");
            panic_note(&format!("bridge.log:\n{log}\nrig.log:\n{last}"));
        }
        // Drivers would start another.
        for driver in self.world.drivers() {
            end(driver, "KILL");
        }
        if let Some(id) = self.bridge() {
            end(id, "KILL");
        }
    }
}

#[expect(clippy::print_stderr, reason = "what a failed test leaves behind")]
fn panic_note(text: &str) {
    eprintln!("{text}");
}

pub(super) fn body(event: &Value) -> &str {
    event["content"]["body"].as_str().unwrap_or_default()
}

/// Returns the first message of the thread that an event stands in.
pub(super) fn thread_of(event: &Value) -> Option<&str> {
    let relation = &event["content"]["m.relates_to"];
    (relation["rel_type"] == "m.thread").then(|| relation["event_id"].as_str()).flatten()
}
