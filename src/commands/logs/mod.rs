//! `rig logs`: everything that there is to read about an issue's newest run: what happened, what its driver wrote, what CI
//! said, what the session shows. Reads only; asks neither the forge nor for a token.

mod checks;
mod driver_log;
mod texts;

use super::{CommandResult, Context, handle::Handle, runtime, wire, words};
use crate::{
    cli::LogsArgs,
    config,
    domain::{ids::Seq, redact::Redactor},
    engine::resume,
    output::{Exit, Failure, Printer},
};
use driver_log::DriverLog;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

/// Pause between two looks while following: soon enough for a person, and next to no work.
const LOOK: Duration = Duration::from_millis(500);
/// Looks between two captures of the session's screen while following it.
const LOOKS_A_SCREEN: u32 = 2;

/// Something that happened at a time.
struct Item {
    at: Timestamp,
    /// `event` or `driver`.
    source: &'static str,
    /// The event's kind, or the line's level.
    what: String,
    words: String,
    colour: u8,
    document: Value,
}

/// Which parts are wanted; all when none is named.
#[derive(Clone, Copy)]
struct Parts {
    events: bool,
    driver: bool,
    ci: bool,
    pane: bool,
}

struct Reader {
    handle: Handle,
    parts: Parts,
    redactor: Redactor,
    printer: Printer,
    /// Last event that was shown.
    seq: Seq,
    driver_log: DriverLog,
}

pub fn run(context: &Context, args: LogsArgs) -> CommandResult {
    runtime()?.block_on(async {
        let handle = match Handle::find(context, args.issue, args.project.as_ref()).await {
            Ok(handle) => handle,
            Err(no_run) => return checks::show(context, &args, no_run).await,
        };
        let none = !args.events && !args.driver && !args.ci && !args.pane;
        let parts = Parts {
            events: args.events || none,
            driver: args.driver || none,
            ci: args.ci || none,
            // What comes anew is told line by line; a screen is shown with it only when asked for.
            pane: args.pane || (none && !args.follow),
        };
        let redactor = wire::redactor(&handle.root, &config::load(&handle.root, &[]).projects);
        let run = &handle.run;
        let driver_log = DriverLog::new(handle.root.log_dir(), run.run.clone(), run.claimed_at);
        let mut reader = Reader { parts, redactor, printer: context.printer, seq: Seq(0), driver_log, handle };
        reader.show().await?;
        if args.follow { reader.follow().await } else { Ok(Exit::Ok) }
    })
}

impl Reader {
    /// Shows what there is now.
    async fn show(&mut self) -> Result<(), Failure> {
        let run = &self.handle.run;
        self.printer.line(format!(
            "issue {} of {}: {}, run {}, attempt {}, claimed {:.0}",
            run.issue, run.project, run.stage, run.run, run.attempt, run.claimed_at
        ));
        self.show_news().await?;
        if self.parts.driver {
            self.text("driver's output", texts::driver_output(&self.handle));
        }
        if self.parts.ci {
            for log in texts::ci_logs(&self.handle).await? {
                self.text("CI", Some(log));
            }
        }
        if self.parts.pane {
            let screen = texts::screen(&self.handle).await;
            if screen.is_none() {
                self.printer.line("session: no screen was kept");
            }
            self.text("session", screen);
        }
        Ok(())
    }

    /// Shows what has come since the last time, in the order of time.
    async fn show_news(&mut self) -> Result<(), Failure> {
        let mut items = Vec::new();
        for event in self.handle.events(self.seq).await? {
            self.seq = event.seq;
            let fact = resume::read(&event).map_err(|error| wire::store_failure(&error))?;
            let told = words::of(&fact.event);
            // People get what matters in words, programs get all.
            if !self.parts.events || (told.is_none() && !self.printer.is_json()) {
                continue;
            }
            let (colour, words) = told.unwrap_or_default();
            let (at, what) = (event.at, event.kind.clone());
            items.push(Item { at, source: "event", what, words, colour, document: json!(event) });
        }
        let lines = self.driver_log.news();
        items.extend(lines.into_iter().filter(|_| self.parts.driver));
        items.sort_by_key(|item| item.at);
        for item in &items {
            self.print(item);
        }
        Ok(())
    }

    fn print(&self, item: &Item) {
        let words = texts::plain(&self.redactor.redact(&item.words));
        let at = format!("{:.0}", item.at);
        let line = format!("{at}  {:<6}  {:<18}  {words}", item.source, item.what);
        self.printer.line(if item.colour == 0 { line } else { self.printer.paint(item.colour, &line) });
        self.printer.json(
            &json!({ "source": item.source, "at": item.at, "words": words, "entry": self.redacted(&item.document) }),
        );
    }

    fn redacted(&self, document: &Value) -> Value {
        let text = self.redactor.redact(&document.to_string()).into_owned();
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    fn text(&self, title: &str, text: Option<texts::Text>) {
        let Some(text) = text else { return };
        let content = texts::lines(&self.redactor.redact(&text.content));
        let (place, when) = (text.place, text.at.map(|at| format!(", {at:.0}")).unwrap_or_default());
        self.printer.line(format!("\n--- {title}: {place}{when} ---"));
        for line in &content {
            self.printer.line(line);
        }
        self.printer.json(&json!({ "source": text.source, "at": text.at, "place": place, "text": content.join("\n") }));
    }

    /// Shows what comes, until the run has ended or nobody reads any more.
    async fn follow(&mut self) -> CommandResult {
        let mut shown = texts::screen(&self.handle).await.map(|text| texts::lines(&text.content)).unwrap_or_default();
        let mut looks = 0_u32;
        while !self.printer.reader_is_gone() {
            // In this order: what came before the end is shown before the end is.
            self.handle.refresh().await?;
            self.show_news().await?;
            looks = looks.wrapping_add(1);
            if self.parts.pane && looks.is_multiple_of(LOOKS_A_SCREEN) {
                self.show_new_lines(&mut shown).await;
            }
            if !self.handle.run.open {
                self.printer.line(format!("the run has ended ({})", self.handle.run.stage));
                self.printer.json(&json!({ "source": "end", "stage": self.handle.run.stage }));
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(Exit::Ok)
    }

    async fn show_new_lines(&self, shown: &mut Vec<String>) {
        let Some(text) = texts::screen(&self.handle).await else { return };
        let now = texts::lines(&self.redactor.redact(&text.content));
        let same = now.iter().zip(shown.iter()).take_while(|(new, old)| new == old).count();
        for line in &now[same..] {
            self.printer.line(format!("                      pane    {line}"));
            self.printer.json(&json!({ "source": "pane", "at": text.at, "text": line }));
        }
        *shown = now;
    }
}
