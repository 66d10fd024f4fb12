//! Where a repository is reached: a URL or path, held apart from the credentials that may be written in it, so that no
//! command line, stored configuration or message can hold them.

use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};

/// User name beside a token in basic authentication; forges look at the token only.
const TOKEN_USER: &str = "rig";

/// A remote repository without credentials, and the credentials for it.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    url: String,
    /// `USER:PASSWORD` for basic authentication over HTTP.
    login: Option<SecretString>,
}

impl Remote {
    /// Takes the credentials out of a URL and keeps them for HTTP; a path or an ssh address stays as it is.
    pub(super) fn parse(text: &str) -> Self {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Self { url: text.to_owned(), login: None };
        };
        let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let Some(at) = rest[..authority_end].rfind('@') else {
            return Self { url: text.to_owned(), login: None };
        };
        let (user_info, host) = (&rest[..at], &rest[at + 1..]);
        if is_http(scheme) {
            let decoded = percent_decoded(user_info);
            let login = if decoded.contains(':') { decoded } else { format!("{decoded}:") };
            return Self { url: format!("{scheme}://{host}"), login: Some(SecretString::from(login)) };
        }
        // ssh takes the user name from the URL, and cannot use a password.
        let user = user_info.split(':').next().unwrap_or_default();
        Self { url: format!("{scheme}://{user}@{host}"), login: None }
    }

    /// Adds a token, unless the remote is not reached over HTTP.
    pub(super) fn with_token(mut self, token: &SecretString) -> Self {
        if !token.expose_secret().is_empty() {
            self.login = Some(SecretString::from(format!("{TOKEN_USER}:{}", token.expose_secret())));
        }
        self
    }

    /// Returns the URL or path without credentials.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Returns the git configuration (key, value) that logs in at this remote and nowhere else.
    pub(super) fn login_config(&self) -> Option<(String, SecretString)> {
        let scheme = self.url.split_once("://")?.0;
        let login = self.login.as_ref().filter(|_| is_http(scheme))?;
        let header = format!("Authorization: Basic {}", STANDARD.encode(login.expose_secret()));
        Some((format!("http.{}.extraHeader", self.url), SecretString::from(header)))
    }
}

/// Returns text with the credentials of every URL in it taken out.
pub(super) fn without_credentials(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        clean.push_str(before);
        let ends = |c: char| c == '/' || c.is_whitespace() || c == '\'' || c == '"';
        let authority_end = after.find(ends).unwrap_or(after.len());
        let user_info_end = after[..authority_end].rfind('@').map_or(0, |at| at + 1);
        rest = &after[user_info_end..];
    }
    clean.push_str(rest);
    clean
}

fn is_http(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match hex.filter(|_| byte == b'%').and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_leave_the_url_and_go_into_a_header_for_it() {
        let remote = Remote::parse("https://me:p%40ss@git.example.org/a/b.git");
        assert_eq!(remote.url(), "https://git.example.org/a/b.git");
        let (key, value) = remote.login_config().unwrap();
        assert_eq!(key, "http.https://git.example.org/a/b.git.extraHeader");
        assert_eq!(value.expose_secret(), &format!("Authorization: Basic {}", STANDARD.encode("me:p@ss")));
    }

    #[test]
    fn a_token_is_used_over_http_only() {
        let token = SecretString::from("sesame");
        let http = Remote::parse("http://127.0.0.1:3000/a/b").with_token(&token);
        assert!(http.login_config().unwrap().1.expose_secret().ends_with(&STANDARD.encode("rig:sesame")));
        for other in ["/srv/git/a.git", "ssh://git@host/a", "git@host:a/b.git", "file:///srv/a.git"] {
            let remote = Remote::parse(other).with_token(&token);
            assert_eq!((remote.url(), remote.login_config().is_none()), (other, true));
        }
    }

    #[test]
    fn messages_lose_every_password() {
        for (text, clean) in [
            ("fatal: unable to access 'https://a:b@h/x/': no", "fatal: unable to access 'https://h/x/': no"),
            ("https://tok@h https://u:p@q@i/z", "https://h https://i/z"),
            ("nothing at all, a@b", "nothing at all, a@b"),
            ("http://h/a@b", "http://h/a@b"),
        ] {
            assert_eq!(without_credentials(text), clean);
        }
    }
}
