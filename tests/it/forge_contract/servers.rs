//! The servers that the suite runs on. Only this file knows which there are.

use super::world::World;
use rig::embedded_forge::{Options, Running, start};
use std::{io::Write, net::SocketAddr, sync::Once};
use tempfile::TempDir;

/// Returns the forge that the environment names, if any.
pub(super) fn external() -> Option<World> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (set("RIG_TEST_FORGE_URL"), set("RIG_TEST_FORGE_ADMIN_TOKEN")) {
        (Some(url), Some(token)) => Some(World::new(&url, &token)),
        (None, None) => {
            static SAID: Once = Once::new();
            SAID.call_once(|| {
                let said = "skipped: the forge contract on an external server; RIG_TEST_FORGE_URL is not set\n";
                // Past the test harness, which would keep it to itself. If stderr is closed nobody wants to know.
                let _ = std::io::stderr().write_all(said.as_bytes());
            });
            None
        }
        _ => panic!("RIG_TEST_FORGE_URL and RIG_TEST_FORGE_ADMIN_TOKEN must be set together"),
    }
}

/// An embedded forge in a folder of its own, for as long as it is held.
pub(super) struct Embedded {
    pub(super) world: World,
    _running: Running,
    _folder: TempDir,
}

/// Starts an embedded forge that serves one check.
pub(super) async fn embedded() -> Embedded {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        folder: folder.path().join("forge"),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        root_url: None,
        faults: false,
    };
    let running = start(options).await.unwrap();
    let token = running.new_admin_token().expect("the first start makes an administrator").to_owned();
    Embedded { world: World::new(&running.url(), &token), _running: running, _folder: folder }
}
