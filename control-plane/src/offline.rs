//! What an operator does on the machine itself, in the data folder: the first token, the CA's certificate.
//!
//! Works while the control plane runs and while it does not; a token made here is good at once.

use std::{path::Path, sync::Arc, time::SystemTime};

use anyhow::Context;

use crate::{
    access::{self, Grant, NewGrant, Row, append_once},
    ca::{self, Authority},
    metrics::Metrics,
    store::{self, Records, Stores},
    unix_time::unix_ms,
};

/// Makes an API token that does not end and returns it; only its hash is kept.
///
/// # Errors
/// A scope is none, or the store cannot be used.
pub async fn create_token(
    data_dir: &Path,
    scopes: &[impl ToString],
    label: &str,
) -> anyhow::Result<String> {
    let scopes = scopes.iter().map(|scope| scope.to_string().parse::<Grant>());
    let scopes = scopes.collect::<Result<_, _>>()?;
    make_token(data_dir, NewGrant { label: label.to_owned(), scopes, ..NewGrant::default() }).await
}

/// Makes an API token and returns it; only its hash is kept.
///
/// # Errors
/// The store cannot be used, or the token cannot be.
pub async fn make_token(data_dir: &Path, grant: NewGrant) -> anyhow::Result<String> {
    let records = records(data_dir).await?;
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
pub async fn list_tokens(data_dir: &Path) -> anyhow::Result<Vec<String>> {
    let tokens = access::list_tokens(records(data_dir).await?.as_ref()).await?;
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
pub async fn revoke_token(data_dir: &Path, id: &str) -> anyhow::Result<()> {
    let records = records(data_dir).await?;
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

async fn records(data_dir: &Path) -> anyhow::Result<Arc<dyn Records>> {
    let metrics = Metrics::new(&prometheus::Registry::new());
    let opened = Stores::open(data_dir, &store::Config::default(), metrics).await;
    let (stores, _) = opened.with_context(|| format!("cannot open {}", data_dir.display()))?;
    Ok(stores.records)
}
