//! Which repository of which forge: one spelling for all that name the same, so that whatever must be unique per repository
//! (locks, open runs, slots) is so across projects and roots.

use super::ids::RepositoryPath;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A repository on its forge, such as `https://git.example.org/acme/widget`, in its one spelling.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RepositoryKey(String);

impl RepositoryKey {
    /// Returns the key of a repository on the forge at a base URL. Forges take owners and names without regard to case.
    pub fn of(forge_url: &str, repository: &RepositoryPath) -> Self {
        Self(format!("{}/{}", normal_url(forge_url), repository.to_string().to_lowercase()))
    }

    /// Takes a key back from where it was stored; an empty one stands for a repository that nobody wrote down.
    pub fn stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether nobody wrote down which repository it is: a run of before keys were stored.
    pub fn is_unknown(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for RepositoryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns one spelling for all of a forge's base URLs: scheme and host in lower case, no port that the scheme implies, no slash at the end.
pub fn normal_url(url: &str) -> String {
    let url = url.trim().trim_end_matches('/');
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let (scheme, host) = (scheme.to_lowercase(), host.to_lowercase());
    let implied_port = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => "",
    };
    format!("{scheme}://{}{path}", host.strip_suffix(implied_port).unwrap_or(&host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_one_repository_are_one_key_and_others_are_not() {
        let key = |url: &str, path: &str| RepositoryKey::of(url, &path.parse().unwrap());
        let one = key("https://git.example.org", "acme/widget");
        assert_eq!(one.as_str(), "https://git.example.org/acme/widget");
        for (url, path) in
            [("HTTPS://Git.Example.ORG:443//", "Acme/Widget"), (" https://git.example.org/", "acme/WIDGET")]
        {
            assert_eq!(key(url, path), one);
        }
        for (url, path) in [
            ("http://git.example.org", "acme/widget"),
            ("https://git.example.org:8443", "acme/widget"),
            ("https://git.example.org/Forge", "acme/widget"),
            ("https://git.example.org", "acme/gadget"),
        ] {
            assert_ne!(key(url, path), one, "{url} {path}");
        }
    }
}
