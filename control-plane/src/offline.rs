//! What an operator does on the machine itself, in the data folder: the first token, the CA's certificate.
//!
//! Works while the control plane runs and while it does not; a token made here is good at once.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use anyhow::{Context, anyhow, ensure};
use serde::Serialize;
use tidegate_contract::id::StreamId;

use crate::{
    access::{self, Entry, Grant, Head, NewGrant, Row, append_once},
    ca::{self, Authority},
    keys,
    metrics::Metrics,
    release::HEAD_RECORD,
    server::{self, STREAM},
    store::{
        self, Records, Stores,
        backup::{self as store_backup, Verified},
        etcd::raise as raise_etcd,
    },
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

/// What a backup or a database holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// Its records.
    pub records: u64,
    /// Its purges.
    pub purges: u64,
    /// The offset of the newest purge.
    pub purge_head: u64,
    /// The newest release; none before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<u64>,
    /// The key files in it, by name; a database has none.
    pub keys: Vec<String>,
}

/// What a restore would do.
#[derive(Debug, Serialize)]
pub struct RestorePlan {
    /// What is put back.
    pub backup: Contents,
    /// What is in the folder now; absent when there is nothing, or when it is damaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub there: Option<Contents>,
    /// What is wrong with what is in the folder now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
    /// The key files of the folder, which stay.
    pub keys_there: Vec<String>,
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
    Ok(authority.bundle_pem())
}

/// Writes a backup of the database, while the control plane runs or not; with `with_keys` it holds the key files too.
///
/// # Errors
/// The state lies elsewhere, or the backup cannot be written; nothing stands under the name then.
pub async fn backup(home: &Home, to: &Path, with_keys: bool) -> anyhow::Result<String> {
    ensure_sqlite(home)?;
    let keys = if with_keys { keys::read(&home.data_dir)? } else { Vec::new() };
    let (data_dir, to) = (home.data_dir.clone(), to.to_owned());
    let file = to.display().to_string();
    let made = tokio::task::spawn_blocking(move || store_backup::backup(&data_dir, &to, &keys));
    let verified = made.await?.with_context(|| format!("cannot write {file}"))?;
    Ok(summary(&file, verified))
}

/// Checks a backup: pages, purge log, records, the audit log's chain; and says what it holds.
///
/// # Errors
/// The first thing that is wrong.
pub fn contents(file: &Path) -> anyhow::Result<Contents> {
    let name = file.display().to_string();
    let Verified { records, purges, purge_head } =
        store_backup::verify(file).with_context(|| name.clone())?;
    verify_audit(file).with_context(|| name.clone())?;
    let head = store_backup::records_in(file, HEAD_RECORD)?.into_iter();
    let head = head.filter(|(key, _)| key == HEAD_RECORD).map(|(_, value)| value).next();
    let release = head.map(|value| serde_json::from_slice::<u64>(&value)).transpose();
    let release = release.with_context(|| format!("{name}: {HEAD_RECORD}"))?;
    let keys = store_backup::key_names(file).with_context(|| name.clone())?;
    Ok(Contents { records, purges, purge_head, release, keys })
}

/// What a restore into a data folder would do. Nothing is changed.
///
/// # Errors
/// The backup is not as it should be, or the state lies elsewhere.
pub fn plan_restore(home: &Home, from: &Path) -> anyhow::Result<RestorePlan> {
    ensure_sqlite(home)?;
    let backup = contents(from)?;
    let place = home.data_dir.join(store::DATABASE_FILE);
    let (there, damage) = match place.exists().then(|| contents(&place)) {
        None => (None, None),
        Some(Ok(there)) => (Some(there), None),
        Some(Err(error)) => (None, Some(format!("{error:#}"))),
    };
    let keys_there = match home.data_dir.is_dir() {
        true => keys::read(&home.data_dir)?.into_iter().map(|(name, _)| name).collect(),
        false => Vec::new(),
    };
    Ok(RestorePlan { backup, there, damage, keys_there })
}

/// Whether no control plane uses a data folder that has a state.
///
/// # Errors
/// One does, or that cannot be told.
pub fn check_unused(home: &Home) -> anyhow::Result<()> {
    if home.data_dir.join(store::DATABASE_FILE).exists() {
        server::lock(&home.data_dir)?;
    }
    Ok(())
}

/// Puts a backup into a data folder that no control plane uses. Why stands in the audit log.
///
/// # Errors
/// One uses it, there is a state and `replace` is false, or the backup is not as it should be.
pub async fn restore(
    home: &Home,
    from: &Path,
    replace: bool,
    reason: &str,
) -> anyhow::Result<String> {
    ensure_sqlite(home)?;
    let _lock = server::lock(&home.data_dir)?;
    let place = home.data_dir.join(store::DATABASE_FILE);
    ensure!(
        replace || !place.exists(),
        "{} is there: with --replace it is kept beside and replaced",
        place.display()
    );
    verify_file(from)?;
    let now_unix_ms = unix_ms(SystemTime::now());
    let keys = store_backup::restore(from, &home.data_dir, now_unix_ms)
        .with_context(|| format!("cannot restore {}", from.display()))?;
    keys::write(&home.data_dir, &keys)?;
    let records = records(home.clone()).await?;
    let row =
        Row { reason: reason.to_owned(), ..row("restore", format!("from {}", from.display())) };
    append_once(records.as_ref(), &row).await?;
    let kept = if keys.is_empty() { "; it held no keys" } else { "" };
    Ok(format!("restored {}{kept}", from.display()))
}

/// Checks a backup, or the database of a data folder: pages, purge log, records, the audit log's chain.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(home: &Home, file: Option<&Path>) -> anyhow::Result<String> {
    match file {
        Some(file) => verify_file(file),
        None => {
            ensure_sqlite(home)?;
            verify_file(&home.data_dir.join(store::DATABASE_FILE))
        }
    }
}

/// Lifts what only grows, after etcd was restored from a snapshot of its own.
///
/// # Errors
/// The state does not lie in etcd, or a replica lives.
pub async fn raise(home: Home) -> anyhow::Result<String> {
    let stores = stores(&home).await?;
    let client =
        stores.etcd().context("only a state in etcd is raised by hand; restore does it")?;
    let head = raise_etcd(client, &StreamId::parse(STREAM)?).await?;
    let note = format!("purges go on behind {head}");
    append_once(stores.records.as_ref(), &row("raise", note.clone())).await?;
    Ok(note)
}

fn verify_file(file: &Path) -> anyhow::Result<String> {
    let name = file.display().to_string();
    let verified = store_backup::verify(file).with_context(|| name.clone())?;
    verify_audit(file).with_context(|| name.clone())?;
    Ok(summary(&name, verified))
}

fn verify_audit(file: &Path) -> anyhow::Result<()> {
    let (mut head, mut rows) = (Head::default(), Vec::new());
    for (key, value) in store_backup::records_in(file, "audit/")? {
        match key["audit/".len()..].parse() {
            Ok(number) => rows.push(Entry { number, link: serde_json::from_slice(&value)? }),
            Err(_) => head = serde_json::from_slice(&value)?,
        }
    }
    let before = (head.first <= 1).then_some((0, ""));
    let hash = access::verify(before, &rows)
        .map_err(|broken| anyhow!("audit row {}: {}", broken.number, broken.why))?;
    let last = rows.last().map_or(0, |row| row.number);
    ensure!(
        rows.is_empty() && head.number == 0 || (hash == head.hash && last == head.number),
        "the audit log ends at row {last}, its head says {}",
        head.number
    );
    Ok(())
}

fn summary(name: &str, verified: Verified) -> String {
    let Verified { records, purges, purge_head } = verified;
    format!("{name}: {records} records, {purges} purges up to offset {purge_head}, all in order")
}

fn ensure_sqlite(home: &Home) -> anyhow::Result<()> {
    ensure!(
        home.store.url == "sqlite:",
        "the state lies in etcd: use etcdctl snapshot save, etcdctl snapshot restore, then \
         tidegate-control raise"
    );
    Ok(())
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
    Ok(stores(&home).await?.records)
}

async fn stores(home: &Home) -> anyhow::Result<Stores> {
    let metrics = Metrics::new(&prometheus::Registry::new());
    let opened = Stores::open(&home.data_dir, &home.store, metrics).await;
    let (stores, _) = opened.with_context(|| format!("cannot open {}", home.data_dir.display()))?;
    Ok(stores)
}
