//! The output of a program, read as it comes and kept up to a cap.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Time that the output of a program that has ended may still take: a grandchild may hold the pipe open.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// One output stream, read to its end so that the writer never blocks; at most `cap` bytes of it are kept.
#[derive(Debug)]
pub(super) struct Capture {
    kept: Arc<Mutex<Kept>>,
    reader: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    truncated: bool,
}

impl Capture {
    pub(super) fn start(stream: Option<impl AsyncRead + Unpin + Send + 'static>, cap: usize, tail: bool) -> Self {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let reader = tokio::spawn(read_capped(stream, Arc::clone(&kept), cap, tail));
        Self { kept, reader }
    }

    /// Returns what was kept and whether something was not, once the stream ends or has had time enough to.
    pub(super) async fn finish(mut self) -> (Vec<u8>, bool) {
        let ended = tokio::time::timeout(DRAIN_TIMEOUT, &mut self.reader).await.is_ok();
        self.reader.abort();
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        (kept.bytes, kept.truncated || !ended)
    }
}

async fn read_capped(stream: Option<impl AsyncRead + Unpin>, kept: Arc<Mutex<Kept>>, cap: usize, tail: bool) {
    let Some(mut stream) = stream else { return };
    let mut chunk = vec![0; 16 * 1024];
    while let Ok(count) = stream.read(&mut chunk).await {
        if count == 0 {
            break;
        }
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let room = if tail { count } else { (cap - kept.bytes.len()).min(count) };
        kept.bytes.extend_from_slice(&chunk[..room]);
        kept.truncated |= room < count;
        // Twice the cap before it is cut, so that not every chunk moves the whole.
        if kept.bytes.len() > cap * 2 {
            kept.cut_to_last(cap);
        }
    }
    kept.lock().unwrap_or_else(PoisonError::into_inner).cut_to_last(cap);
}

impl Kept {
    fn cut_to_last(&mut self, cap: usize) {
        if self.bytes.len() > cap {
            self.bytes.drain(..self.bytes.len() - cap);
            self.truncated = true;
        }
    }
}
