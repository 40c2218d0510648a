//! What the handlers and the background work of uploads share.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use axum::extract::FromRef;

use crate::{
    app::App,
    upload::{config::Config, spool::Spool, writers::Writers},
    web::Tokens,
};

/// The parts; clones share them. There is one of it in a process, since it holds the locks.
#[derive(Debug, Clone)]
pub struct Parts {
    pub(super) app: App,
    pub(super) config: Arc<Config>,
    pub(super) spool: Spool,
    pub(super) writers: Writers,
}

impl Parts {
    /// Opens the spool.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub fn open(app: App, config: Arc<Config>) -> anyhow::Result<Self> {
        let spool = Spool::open(&config.spool_dir)
            .with_context(|| format!("upload.spool_dir {}", config.spool_dir.display()))?;
        let writers = Writers::new(config.uploads_max as usize);
        Ok(Self { app, config, spool, writers })
    }

    /// When an upload that got bytes now expires.
    pub(super) fn expires_ms(&self) -> i64 {
        self.in_ms(self.config.expiry)
    }

    /// When an upload that ends now is forgotten.
    pub(super) fn forget_ms(&self) -> i64 {
        self.in_ms(self.config.tombstone_age)
    }

    fn in_ms(&self, wait: Duration) -> i64 {
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        self.app.now_ms().saturating_add(wait)
    }
}

impl FromRef<Parts> for Tokens {
    fn from_ref(parts: &Parts) -> Self {
        parts.app.tokens.clone()
    }
}
