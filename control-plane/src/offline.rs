//! What an operator does on the machine itself, in the data folder: the first token, the CA's certificate.
//!
//! Works while the control plane runs and while it does not; a token made here is good at once.

use std::{path::Path, time::SystemTime};

use anyhow::{Context, bail};

use crate::{
    ca::{self, Authority},
    metrics::Metrics,
    store::{self, ApiTokenRow, Registry, Stores},
    token::{Kind, NewToken, Scope},
    unix_time::unix_ms,
};

/// Makes an API token and returns it; only its hash is kept.
///
/// # Errors
/// The store cannot be used.
pub async fn create_token(
    data_dir: &Path,
    scopes: &[Scope],
    label: &str,
) -> anyhow::Result<String> {
    if scopes.is_empty() {
        bail!("a token needs at least one scope");
    }
    let token = NewToken::make(Kind::Api);
    let row = ApiTokenRow {
        id: token.id,
        label: label.to_owned(),
        scopes: Scope::format_list(scopes),
        hash: token.hash.to_vec(),
        created_unix_ms: unix_ms(SystemTime::now()),
    };
    open(data_dir).await?.add_api_token(row).await?;
    Ok(token.text)
}

/// The API tokens, one a line: id, scopes, label.
///
/// # Errors
/// The store cannot be used.
pub async fn list_tokens(data_dir: &Path) -> anyhow::Result<Vec<String>> {
    let rows = open(data_dir).await?.api_tokens().await?;
    Ok(rows.into_iter().map(|row| format!("{}\t{}\t{}", row.id, row.scopes, row.label)).collect())
}

/// Makes an API token worthless.
///
/// # Errors
/// The store cannot be used, or there is no such token.
pub async fn revoke_token(data_dir: &Path, id: &str) -> anyhow::Result<()> {
    if !open(data_dir).await?.delete_api_token(id).await? {
        bail!("there is no token {id}");
    }
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

async fn open(data_dir: &Path) -> anyhow::Result<Registry> {
    let metrics = Metrics::new(&prometheus::Registry::new());
    let opened = Stores::open(data_dir, &store::Config::default(), metrics).await;
    let (stores, _) = opened.with_context(|| format!("cannot open {}", data_dir.display()))?;
    Ok(Registry::open(stores.records).await?)
}
