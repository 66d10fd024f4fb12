//! The verdict from the commit statuses that others post on the forge: which contexts are required is found here, what
//! follows from them is decided in the domain.

use crate::{
    domain::{
        ci::{CiVerdict, verdict},
        ids::Sha,
    },
    ports::{
        ci::{Ci, CiError},
        forge::{Forge, ForgeError},
    },
};
use async_trait::async_trait;
use std::sync::{Arc, Mutex, PoisonError};

/// Reads statuses; runs nothing.
pub struct ForgeStatusCi {
    forge: Arc<dyn Forge>,
    required_contexts: Vec<String>,
    primary_branch: String,
    /// Contexts seen at a tip of the primary branch. A fresh merge has none yet, and must not make them forgotten.
    last_seen: Mutex<Vec<String>>,
}

impl ForgeStatusCi {
    /// Returns the provider; without `required_contexts` it asks the forge what the primary branch demands or shows.
    pub fn new(forge: Arc<dyn Forge>, required_contexts: Vec<String>, primary_branch: String) -> Self {
        Self { forge, required_contexts, primary_branch, last_seen: Mutex::default() }
    }

    async fn required(&self) -> Result<Vec<String>, ForgeError> {
        if !self.required_contexts.is_empty() {
            return Ok(self.required_contexts.clone());
        }
        let protection = self.forge.protection(&self.primary_branch).await?;
        if let Some(protection) = protection.filter(|protection| !protection.required_contexts.is_empty()) {
            return Ok(protection.required_contexts);
        }
        let seen = match self.forge.branch_tip(&self.primary_branch).await? {
            Some(tip) => self.forge.statuses(&tip).await?,
            None => Vec::new(),
        };
        // Names seen are names, also those that look like a glob: the domain compares by name first.
        let seen: Vec<String> = seen.into_iter().map(|status| status.context).collect();
        let mut last_seen = self.last_seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.is_empty() {
            *last_seen = seen;
        }
        Ok(last_seen.clone())
    }
}

#[async_trait]
impl Ci for ForgeStatusCi {
    async fn run(&self, head: &Sha) -> Result<CiVerdict, CiError> {
        let answer = async { Ok(verdict(&self.required().await?, &self.forge.statuses(head).await?)) };
        answer.await.map_err(|error: ForgeError| CiError { message: error.to_string() })
    }

    fn runs_here(&self) -> bool {
        false
    }
}
