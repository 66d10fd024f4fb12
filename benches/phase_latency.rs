//! How long it takes from the writing of a phase until whoever waits for it has read it. Prints a table.
//! Wanted: at most 10 ms at the median and 50 ms at the 99th percentile.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints its figures and may give up anywhere")]

use rig::{
    adapters::phase_watch::{
        PhaseWatch,
        file::{read_phase, write_phase},
    },
    domain::phase::{Phase, PhaseReport},
};
use std::{
    fs,
    path::Path,
    sync::mpsc,
    time::{Duration, Instant},
};

const WRITES: u32 = 300;

fn main() {
    println!("{:<28} {:>10} {:>10} {:>10}", "phase written by", "median ms", "p99 ms", "worst ms");
    measure("echo > \"$PHASE_FILE\"", |path, round| fs::write(path, text(round)).unwrap());
    measure("a rename over it", |path, round| {
        let new = path.with_file_name(".phase.new");
        fs::write(&new, text(round)).unwrap();
        fs::rename(&new, path).unwrap();
    });
    measure("rig phase set (with fsync)", |path, round| {
        let report = PhaseReport { phase: Phase::Escalate, reason: format!("round {round}") };
        write_phase(path, &path.with_file_name("phase.log"), &report, jiff::Timestamp::now()).unwrap();
    });
}

fn text(round: u32) -> String {
    format!("PHASE:escalate\nReason: round {round}\n")
}

fn measure(name: &str, write: impl Fn(&Path, u32) + Send + 'static) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("phase");
    let mut watch = PhaseWatch::new();
    watch.add(folder.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (written, times) = mpsc::channel();
    let (next, go) = mpsc::channel();
    let target = path.clone();
    let writer = std::thread::spawn(move || {
        for round in go {
            // A pause, so that the reader really waits.
            std::thread::sleep(Duration::from_millis(3));
            let before = Instant::now();
            write(&target, round);
            written.send(before).unwrap();
        }
    });
    let mut latencies: Vec<Duration> = (0..WRITES)
        .map(|round| {
            next.send(round).unwrap();
            let wanted = format!("round {round}");
            let at = runtime.block_on(async {
                loop {
                    watch.changed().await;
                    let content = read_phase(&path).map(|seen| format!("{:?}", seen.content));
                    if content.is_some_and(|content| content.contains(&format!("\"{wanted}\""))) {
                        return Instant::now();
                    }
                }
            });
            at.saturating_duration_since(times.recv().unwrap())
        })
        .collect();
    drop(next);
    writer.join().unwrap();
    latencies.sort();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
    println!("{name:<28} {:>10.2} {:>10.2} {:>10.2}", at(0.5), at(0.99), at(1.0));
}
