//! Whose fault a failed step is: the code's, or that of the machinery around it. The machinery is tried again and costs the
//! agent nothing; what cannot be told apart is the code's fault.

use regex::RegexSet;
use std::sync::LazyLock;

/// Exit code of a process that SIGKILL ended: out of memory, or somebody's hand.
const KILLED: i32 = 128 + 9;
/// Exit code of a git that could not fetch.
const GIT_FAILED: i32 = 128;
/// Lines of a log's end in which the machinery's complaints are looked for: what ended the step stands last. Further up
/// they may be what a test expects to see.
const LAST_LINES: usize = 4;

static COMPLAINTS: LazyLock<RegexSet> = LazyLock::new(|| {
    RegexSet::new([
        r"(?i)(exit code|exit status|exited with) 137\b",
        r"(?i)tls handshake timeout",
        r"(?i)connection (timed out|reset by peer|refused).*https?://|https?://.*connection (timed out|reset by peer|refused)",
        r"(?i)could not resolve host",
        r"(?i)temporary failure in name resolution",
        r"(?i)no space left on device",
        r"(?i)cannot allocate memory|out of memory|oom[- ]?killed",
        r"(?i)i/o timeout",
        r"(?i)context deadline exceeded",
        r"(?i)toomanyrequests|too many requests|error 429|429 client error",
        r"(?i)\b(502 bad gateway|503 service unavailable|504 gateway time-?out)\b",
        r"(?i)cannot connect to the docker daemon|error pulling image|failed to pull image|image pull",
        r"(?i)failed to (download|fetch).*(timed out|timeout|connection)",
        r"(?i)unexpected eof.*https?://|the remote end hung up unexpectedly",
        r"(?i)agent (lost|disconnected|not responding)|runner.*(lost|shut ?down)",
    ])
    .expect("the patterns are literals")
});

/// A step that failed, as far as it tells whose fault that is.
#[derive(Debug, Clone, Copy)]
pub struct Failed<'a> {
    /// It fetches the code; nothing of the code has run then.
    pub is_clone: bool,
    pub exit_code: Option<i32>,
    /// What CI itself says of the failure.
    pub said: &'a str,
    /// The end of the step's log, plain text.
    pub log_tail: &'a str,
}

/// Returns why the machinery is at fault, in words; `None` when it is the code.
pub fn machinerys_fault(failed: Failed<'_>) -> Option<String> {
    match failed.exit_code {
        Some(KILLED) => return Some("it was killed (exit code 137)".into()),
        Some(GIT_FAILED) if failed.is_clone => return Some("the code could not be fetched (exit code 128)".into()),
        _ if failed.is_clone => return Some("the code could not be fetched".into()),
        _ => {}
    }
    let lines: Vec<&str> =
        failed.log_tail.lines().rev().filter(|line| !line.trim().is_empty()).take(LAST_LINES).collect();
    let complaint = std::iter::once(failed.said).chain(lines).find(|line| COMPLAINTS.is_match(line))?;
    Some(complaint.trim().chars().take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(is_clone: bool, exit_code: i32, said: &str, log_tail: &str) -> bool {
        machinerys_fault(Failed { is_clone, exit_code: Some(exit_code), said, log_tail }).is_some()
    }

    #[test]
    fn the_machinery_is_at_fault_where_no_code_could_be() {
        for (is_clone, exit_code, said, log_tail) in [
            (true, 128, "", "fatal: unable to access"),
            (true, 1, "", ""),
            (false, 137, "", ""),
            (false, 1, "oom-killed", ""),
            (false, 1, "", "error: failed to download `serde`\ncurl: (28) Connection timed out (https://example.org)"),
            (false, 1, "", "net/http: TLS handshake timeout"),
            (false, 6, "", "curl: (6) Could not resolve host: example.org"),
            (false, 1, "", "write error: No space left on device\n\n"),
            (false, 1, "", "E: Temporary failure in name resolution"),
            (false, 1, "", "toomanyrequests: You have reached your pull rate limit"),
            (false, 1, "", "Error response: 503 Service Unavailable"),
            (false, 126, "failed to pull image example/rust", ""),
            (false, 1, "agent lost", ""),
        ] {
            assert!(of(is_clone, exit_code, said, log_tail), "{exit_code} {said:?} {log_tail:?}");
        }
    }

    #[test]
    fn everything_else_is_the_codes_fault() {
        for (exit_code, said, log_tail) in [
            (1, "", "test result: FAILED. 1 passed; 1 failed"),
            (101, "", "thread 'main' panicked"),
            (128, "", "exit 128 of the tests' own"),
            (1, "", "assertion failed: timed out waiting"),
            (1, "", "error[E0308]: mismatched types"),
            (1, "", "Connection refused as expected\nFAILED test_retry\nassert x\n1 failed\n2 passed"),
            (2, "exit code 2", ""),
            (1, "", ""),
        ] {
            assert!(!of(false, exit_code, said, log_tail), "{exit_code} {said:?} {log_tail:?}");
        }
    }

    #[test]
    fn only_the_end_of_a_log_says_what_ended_the_step() {
        let early = format!("i/o timeout{}", "\nmore output".repeat(10));
        assert!(!of(false, 1, "", &early));
        assert!(of(false, 1, "", "more output\ni/o timeout\n"));
    }
}
