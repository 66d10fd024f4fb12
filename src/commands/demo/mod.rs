//! `rig demo`: the main job from end to end, on this machine and in a root of its own. The forge is the embedded one and the
//! agent a scripted stand-in; everything between them is rig as cron would run it.

mod people;
mod sample;
mod summary;
mod timeline;

use super::{CommandResult, Context, wire};
use crate::{
    cli::{DemoAgent, DemoArgs},
    config::Root,
    embedded_forge::{self, Running},
    output::{Exit, Failure, Printer},
    ports::launch::ProcessIdentity,
};
use people::People;
use sample::Sample;
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use timeline::Timeline;
use tokio::signal::unix::{SignalKind, signal};

/// Pause between two ticks; cron waits ten minutes.
const TICK_PAUSE: Duration = Duration::from_millis(400);
/// Pause between two looks at the journal.
const LOOK_PAUSE: Duration = Duration::from_millis(40);
/// How often the removal of the folder is tried.
const REMOVALS: u32 = 50;
/// Longest time for the stand-in, and for a real agent.
const STAND_IN_TIME: Duration = Duration::from_secs(180);
const CLAUDE_TIME: Duration = Duration::from_secs(3 * 3_600);

/// A demo under way.
pub(super) struct Demo {
    printer: Printer,
    args: DemoArgs,
    root: Root,
    rig: PathBuf,
    forge: Running,
    sample: Sample,
}

pub fn run(context: &Context, args: DemoArgs) -> CommandResult {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("the async runtime cannot be started: {error}")))?;
    runtime.block_on(async {
        // From the first moment on: whenever it comes, nothing stays behind.
        let stop = asked_to_stop()?;
        let folder = tempfile::Builder::new().prefix("rig-demo-").tempdir().map_err(|error| {
            Failure::user(format!("no temporary folder can be made: {error}")).hint("set TMPDIR to a folder with room")
        })?;
        let result = play(context.printer, &args, folder.path(), stop).await;
        match is_kept(&args, &result) {
            true => drop(folder.keep()),
            false => remove(folder).await,
        }
        result
    })
}

/// Listens for signals from now on. The future ends when the person who started the demo wants it to end.
fn asked_to_stop() -> Result<impl Future<Output = ()>, Failure> {
    let failed = |error| Failure::internal(format!("signals cannot be listened for: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Removes the folder, again where a last file came into it meanwhile: git of the forge may still have been at it.
async fn remove(folder: TempDir) {
    for _ in 0..REMOVALS {
        match std::fs::remove_dir_all(folder.path()) {
            Ok(()) => return,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(_) => tokio::time::sleep(LOOK_PAUSE).await,
        }
    }
}

/// What went wrong is kept for a look, unless the person who started it has ended it.
fn is_kept(args: &DemoArgs, result: &CommandResult) -> bool {
    args.keep || result.as_ref().is_ok_and(|exit| *exit != Exit::Ok)
}

async fn play(printer: Printer, args: &DemoArgs, folder: &Path, stop: impl Future<Output = ()>) -> CommandResult {
    let began = Instant::now();
    tokio::pin!(stop);
    let demo = tokio::select! {
        demo = Demo::prepare(printer, args.clone(), folder) => demo?,
        () = &mut stop => return Err(Failure::user("interrupted")),
    };
    let result = tokio::select! {
        result = demo.work(began) => result,
        () = &mut stop => Err(Failure::user("interrupted")),
    };
    demo.tidy_up().await;
    if is_kept(args, &result) {
        demo.say_how_to_look();
    }
    result
}

impl Demo {
    /// Makes the root, the forge with its people and issues, the repository and the mirror, and switches the loop on.
    async fn prepare(printer: Printer, args: DemoArgs, folder: &Path) -> Result<Self, Failure> {
        if let Some(program) = ["git", "tmux"].into_iter().find(|program| !wire::is_installed(program)) {
            return Err(
                Failure::user(format!("`{program}` is not installed")).hint(format!("apt-get install {program}"))
            );
        }
        if args.agent == DemoAgent::Claude && !wire::is_installed("claude") {
            return Err(Failure::user("`claude` is not installed")
                .hint("install it (`npm install -g @anthropic-ai/claude-code`), start it once by hand and log in"));
        }
        let rig = wire::this_program()?;
        let root = Root::at(folder);
        std::fs::create_dir_all(root.projects_dir()).map_err(|error| Failure::user(error).context(folder.display()))?;
        root.ensure_state().map_err(super::root_failure)?;
        let forge = embedded_forge::start(embedded_forge::Options {
            folder: root.forge_dir(),
            listen: ([127, 0, 0, 1], 0).into(),
            root_url: None,
            faults: false,
        })
        .await
        .map_err(Failure::internal)?;
        printer.line(format!("forge    {}", forge.url()));
        printer.line(format!("root     {}", folder.display()));
        let sample = Sample::make(&root, &rig, &forge, &args).await?;
        printer.line(format!(
            "project  {} with {} issues, a mirror, and CI by `sh test.sh`",
            sample::REPOSITORY,
            args.issues
        ));
        if args.keep {
            printer.line(format!("attach   tmux -L {} attach -r", wire::tmux_socket(&root)));
        }
        let demo = Self { printer, args, root, rig, forge, sample };
        demo.rig(&["dev", "start"]).await?;
        Ok(demo)
    }

    /// Ticks as cron would, while people review, until all issues are merged.
    async fn work(&self, began: Instant) -> CommandResult {
        let store = wire::store(&self.root).await?;
        let people = People::new(&self.forge.url(), &self.sample, self.args.agent == DemoAgent::StandIn);
        let mut timeline = Timeline::new(self.printer, store.clone(), began);
        let limit = if self.args.agent == DemoAgent::Claude { CLAUDE_TIME } else { STAND_IN_TIME };
        let ticks = async {
            loop {
                self.rig(&["dev", "poll"]).await?;
                tokio::time::sleep(TICK_PAUSE).await;
            }
        };
        let reviews = people.review(timeline.posted_reviews());
        let watch = async {
            while timeline.show_news().await? < usize::from(self.args.issues) {
                timeline.look_at_mirror(&self.sample.mirror).await;
                tokio::time::sleep(LOOK_PAUSE).await;
            }
            Ok::<(), Failure>(())
        };
        let ended = tokio::select! {
            result = ticks => result,
            result = reviews => result,
            result = watch => result,
            () = tokio::time::sleep(limit) => Err(Failure::outside(format!("not done within {} s", limit.as_secs()))),
        };
        timeline.clear();
        timeline.look_at_mirror(&self.sample.mirror).await;
        if let Err(failure) = ended {
            self.printer.failure(&failure);
        }
        summary::print(self, &timeline, store.as_ref(), began.elapsed()).await
    }

    /// Runs rig itself, with the environment that the demo's cron would have.
    async fn rig(&self, args: &[&str]) -> Result<(), Failure> {
        let program = self.sample.with_environment(crate::adapters::process::Program::new(&self.rig).args(args));
        match program.run_ok().await {
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::outside(error).context(format!("rig {}", args.join(" ")))),
        }
    }

    /// Says what was kept and how to look at it.
    fn say_how_to_look(&self) {
        let (printer, path) = (self.printer, self.root.path().display());
        let listen = self.forge.url().replace("http://", "");
        printer.talk(format!("kept in {path}"));
        printer.talk(format!("  rig status --all --root {path}"));
        printer.talk(format!("  rig phase log 1 --root {path}"));
        printer.talk(format!("  rig forge serve --root {path} --listen {listen}"));
    }

    /// Ends what the demo has started: drivers by their own process, sessions by the demo's own tmux server, and then what is
    /// left, such as a driver that has not written itself down yet. The switch goes first, so that a tick that is under way
    /// starts no more.
    async fn tidy_up(&self) {
        let _ = std::fs::remove_file(self.root.dev_switch());
        let machine = wire::machine(&self.root, self.rig.clone());
        if let Ok(store) = wire::store(&self.root).await {
            for driver in store.drivers().await.unwrap_or_default() {
                machine.end(&ProcessIdentity { pid: driver.pid, start: driver.process_start, boot_id: driver.boot_id });
            }
        }
        match wire::end_all(&self.root).await {
            Ok(0) => {}
            Ok(left) => self.printer.talk(format!("{left} processes of the demo do not end")),
            Err(error) => self.printer.talk(format!("the demo's tmux server could not be ended: {error}")),
        }
    }
}
