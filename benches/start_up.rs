//! How long `rig --version` takes from its start to its end, as whoever starts it sees it. Prints a table.
//! Wanted: at most 5 ms at the median. cron, hooks and agents start rig often, and most starts do little more than this.
//! RIG_TEST_RIG names another program to be measured.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints its figures and may give up anywhere")]

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const STARTS: usize = 301;

fn main() {
    let mut times: Vec<Duration> = (0..STARTS).map(|_| start()).collect();
    times.sort();
    let at = |share: f64| times[((STARTS - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
    println!("{:<28} {:>10} {:>10} {:>10}", "", "median ms", "p99 ms", "worst ms");
    println!("{:<28} {:>10.2} {:>10.2} {:>10.2}", "rig --version", at(0.5), at(0.99), at(1.0));
}

fn start() -> Duration {
    let program = std::env::var("RIG_TEST_RIG").unwrap_or_else(|_| env!("CARGO_BIN_EXE_rig").to_owned());
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null());
    let before = Instant::now();
    assert!(command.status().unwrap().success());
    before.elapsed()
}
