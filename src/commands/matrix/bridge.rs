//! `rig matrix run`: the one bridge process of a root, for all its accounts.

use crate::{
    cli::MatrixRunArgs,
    commands::{CommandResult, Context, runtime, wire},
    config::{self, Root, settings::Project},
    domain::ids::ProjectName,
    engine::bridge::{self, Bridge, is_needed},
    output::{Exit, Failure},
    ports::{chat::ChatError, store::Store},
};
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::Notify;

/// Time that a bridge waits for the one before to leave, and for somebody who only looks whether there is one.
const LOCK_WAIT: Duration = Duration::from_secs(3);
/// First pause before an account that could not begin is tried again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Time between two looks at whether the settings have changed.
const SETTINGS_EVERY: Duration = Duration::from_secs(2);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

pub(super) fn run(context: &Context, args: &MatrixRunArgs) -> CommandResult {
    let root = context.root()?;
    root.ensure_state().map_err(super::root_failure)?;
    let settings = config::fingerprint(&root);
    let projects: Vec<Project> = super::rooms(context, &root, None)?.into_iter().map(|(project, _)| project).collect();
    wire::log(&root, &projects)?;
    let result = runtime()?.block_on(async {
        tokio::select! {
            result = serve(context, &root, &projects, args.while_needed) => result,
            () = changed(&root, &settings) => {
                tracing::info!("the bridge ends: the settings have changed");
                context.printer.talk("the settings have changed: the next bridge goes by them");
                Ok(Exit::Ok)
            }
        }
    });
    if config::fingerprint(&root) != settings && args.while_needed {
        // Its lock is free by now. A service is started again by whoever started it.
        wire::machine(&root, wire::this_program()?).ensure_bridge();
    }
    if let Err(failure) = &result
        && failure.exit != Exit::Held
    {
        tracing::error!(error = failure.message, "the bridge ends");
        wire::bridge_failure(&root, Some(&failure.message));
    }
    result
}

async fn serve(context: &Context, root: &Root, projects: &[Project], while_needed: bool) -> CommandResult {
    let stop = super::super::dev::asked_to_stop()?;
    tokio::pin!(stop);
    let names: Vec<ProjectName> = projects.iter().map(|project| project.name.clone()).collect();
    let store = wire::store(root).await?;
    loop {
        let lock = take_lock(root).await?;
        let work = work(context, root, projects, &store);
        let idle = async {
            match while_needed {
                true => bridge::until_idle(&*store, &*store, &names).await.map_err(|error| wire::store_failure(&error)),
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            result = work => return result.map(|()| Exit::Ok),
            result = idle => result?,
            () = &mut stop => return Ok(Exit::Ok),
        }
        drop(lock);
        // Whoever queued something while the lock was still held saw a bridge that was about to leave.
        if !is_needed(&*store, &*store, &names).await.map_err(|error| wire::store_failure(&error))? {
            tracing::info!("the bridge ends: nothing is to be sent or waited for");
            return Ok(Exit::Ok);
        }
    }
}

/// Resolves when a file was written from which settings come: a process goes by one set of them for its life.
async fn changed(root: &Root, known: &[(PathBuf, Option<SystemTime>, u64)]) {
    while config::fingerprint(root) == known {
        tokio::time::sleep(SETTINGS_EVERY).await;
    }
}

async fn take_lock(root: &Root) -> Result<impl Sized, Failure> {
    const LOOK: Duration = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    loop {
        if let Some(lock) = wire::bridge_lock(root)? {
            return Ok(lock);
        }
        if waited >= LOCK_WAIT {
            return Err(Failure::new(Exit::Held, "another bridge of this root is running")
                .hint("one is enough for all its accounts"));
        }
        tokio::time::sleep(LOOK).await;
        waited += LOOK;
    }
}

/// Leads all accounts until one of them cannot go on.
async fn work(context: &Context, root: &Root, projects: &[Project], store: &Arc<dyn Store>) -> Result<(), Failure> {
    let wake = wire::bridge_wake(root);
    let bridges = wire::bridges(root, projects, store).await?;
    let who: Vec<&str> = bridges.iter().map(|bridge| bridge.account.as_str()).collect();
    context.printer.talk(format!("the bridge runs for {}", who.join(", ")));
    tracing::info!(accounts = who.join(", "), "the bridge runs");
    let all = bridges.iter().map(|bridge| lead(root, bridge, wake.clone()));
    futures::future::try_join_all(all).await.map(drop)
}

async fn lead(root: &Root, bridge: &Bridge, wake: Arc<Notify>) -> Result<(), Failure> {
    let mut pause = FIRST_PAUSE;
    loop {
        match bridge.begin().await {
            Ok(()) => break,
            Err(bridge::ReadingError::Store(error)) => return Err(wire::store_failure(&error)),
            Err(bridge::ReadingError::Chat(error @ ChatError::Account { .. })) => {
                return Err(super::chat_failure(&error));
            }
            Err(bridge::ReadingError::Chat(error)) => {
                tracing::warn!(account = bridge.account, %error, "the bridge waits for the homeserver");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
    wire::bridge_failure(root, None);
    bridge.work(wake).await.map_err(|error| wire::store_failure(&error))
}
