//! The port of what CI broke for lately on this host, shared by every root and project of the user: the machinery of CI is often
//! the same for all of them. It only keeps rig from adding to an outage, so that losing it costs some load and nothing else.

use jiff::Timestamp;
use std::io;

/// For whom CI broke: a run, or a commit that is checked without one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Break {
    /// Names a run or a check among all of the host; letters, digits, `-`, `_` and `.` only.
    pub who: String,
    /// Its latest break.
    pub at: Timestamp,
}

pub trait CiBreaks: Send + Sync {
    /// Notes a break; an earlier one of the same run or check is forgotten.
    fn note(&self, broken: &Break) -> io::Result<()>;
    /// Returns the breaks since then. Older ones may be forgotten for good.
    fn since(&self, since: Timestamp) -> io::Result<Vec<Break>>;
}
