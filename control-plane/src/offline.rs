//! What an operator does on the machine itself, in the data folder: the first token, the CA's certificate.
//!
//! Works while the control plane runs and while it does not; a token made here is good at once.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use anyhow::Context;

use crate::{
    access::{self, Grant, NewGrant, Row, append_once},
    ca::{self, Authority},
    metrics::Metrics,
    store::{self, Records, Stores},
    unix_time::unix_ms,
};

/// Where a control plane's state lies.
#[derive(Debug, Clone, Default)]
pub struct Home {
    /// Its data folder.
    pub data_dir: PathBuf,
    /// Its store.
    pub store: store::Config,
}

impl<T: AsRef<Path> + ?Sized> From<&T> for Home {
    fn from(data_dir: &T) -> Self {
        Self { data_dir: data_dir.as_ref().to_owned(), store: store::Config::default() }
    }
}

/// Makes an API token that does not end and returns it; only its hash is kept.
///
/// # Errors
/// A scope is none, or the store cannot be used.
pub async fn create_token(
    home: impl Into<Home>,
    scopes: &[impl ToString],
    label: &str,
) -> anyhow::Result<String> {
    let scopes = scopes.iter().map(|scope| scope.to_string().parse::<Grant>());
    let scopes = scopes.collect::<Result<_, _>>()?;
    make_token(home, NewGrant { label: label.to_owned(), scopes, ..NewGrant::default() }).await
}

/// Makes an API token and returns it; only its hash is kept.
///
/// # Errors
/// The store cannot be used, or the token cannot be.
pub async fn make_token(home: impl Into<Home>, grant: NewGrant) -> anyhow::Result<String> {
    let records = records(home.into()).await?;
    let now_unix_ms = unix_ms(SystemTime::now());
    let (text, token) = grant.make(records.as_ref(), now_unix_ms).await?;
    let note = format!("make token {} for {}", token.id, token.person());
    append_once(records.as_ref(), &row("token create", note)).await?;
    Ok(text)
}

/// The API tokens, one a line: id, scopes and roles, label.
///
/// # Errors
/// The store cannot be used.
pub async fn list_tokens(home: impl Into<Home>) -> anyhow::Result<Vec<String>> {
    let tokens = access::list_tokens(records(home.into()).await?.as_ref()).await?;
    let line = |token: access::TokenRecord| {
        let roles = token.roles.iter().map(|role| format!("role:{role}"));
        let scopes: Vec<_> = token.scopes.iter().cloned().chain(roles).collect();
        format!("{}\t{}\t{}", token.id, scopes.join(" "), token.label)
    };
    Ok(tokens.into_iter().map(line).collect())
}

/// Makes an API token worthless.
///
/// # Errors
/// The store cannot be used, or there is no such token.
pub async fn revoke_token(home: impl Into<Home>, id: &str) -> anyhow::Result<()> {
    let records = records(home.into()).await?;
    access::revoke_token(records.as_ref(), id).await?;
    append_once(records.as_ref(), &row("token revoke", format!("revoke token {id}"))).await?;
    Ok(())
}

/// PEM of the CA's certificate; makes the CA when there is none.
///
/// # Errors
/// The data folder cannot be used.
pub fn ca_pem(data_dir: &Path) -> anyhow::Result<String> {
    store::make_private_folder(data_dir)?;
    let authority = Authority::open(data_dir, vec![], ca::Config::default(), SystemTime::now())?;
    Ok(authority.ca_pem().to_owned())
}

/// What was done on the machine itself, in the audit log.
fn row(action: &str, note: String) -> Row {
    Row {
        at_unix_ms: unix_ms(SystemTime::now()),
        token: "offline".to_owned(),
        label: String::new(),
        action: action.to_owned(),
        status: 0,
        reason: String::new(),
        notes: vec![note],
    }
}

async fn records(home: Home) -> anyhow::Result<Arc<dyn Records>> {
    let metrics = Metrics::new(&prometheus::Registry::new());
    let opened = Stores::open(&home.data_dir, &home.store, metrics).await;
    let (stores, _) = opened.with_context(|| format!("cannot open {}", home.data_dir.display()))?;
    Ok(stores.records)
}
