//! The HTTP clients and their time limits. Several forges may share them; each is built when it is first needed.

use reqwest::{Client, Url};
use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// Time limits of requests.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    pub connect: Duration,
    /// From sending a request to the last byte of its answer.
    pub request: Duration,
    /// Pause before the first repetition of a read; doubled for the next.
    pub first_pause: Duration,
    /// Longest pause that a forge may ask for; a longer one ends the attempts.
    pub longest_pause: Duration,
    /// A failed read that took this long is not repeated: a forge that hangs would only be waited for again.
    pub slow: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(20),
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(10),
            slow: Duration::from_secs(3),
        }
    }
}

/// HTTP clients that several forges may share; each is built when it is first needed.
#[derive(Clone, Default)]
pub struct Connections {
    timing: Timing,
    clients: Arc<Clients>,
}

#[derive(Default)]
struct Clients {
    loopback: OnceLock<Client>,
    plain: OnceLock<Client>,
    secure: OnceLock<Client>,
}

impl Connections {
    /// Returns connections with time limits of their own.
    pub fn new(timing: Timing) -> Self {
        Self { timing, clients: Arc::default() }
    }

    pub(super) fn timing(&self) -> Timing {
        self.timing
    }

    pub(super) fn client(&self, base: &Url) -> Result<&Client, reqwest::Error> {
        let secure = base.scheme() == "https";
        let loopback = is_loopback(base);
        let slot = match (secure, loopback) {
            (true, _) => &self.clients.secure,
            (false, true) => &self.clients.loopback,
            (false, false) => &self.clients.plain,
        };
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let mut builder = Client::builder()
            .user_agent(concat!("rig/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.timing.connect)
            .timeout(self.timing.request)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never());
        if !secure {
            // Reading the system's certificates costs start-up time, and a bare machine may have none.
            builder = builder.tls_certs_only([]);
            if loopback {
                builder = builder.no_proxy();
            }
        }
        let client = builder.build()?;
        Ok(slot.get_or_init(|| client))
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("timing", &self.timing).finish_non_exhaustive()
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost"
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
