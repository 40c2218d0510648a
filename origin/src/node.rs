//! Builds the parts, binds the sockets, starts the background work, and waits for the drain.

use std::{net::SocketAddr, path::Path, sync::Arc, time::SystemTime};

use anyhow::Context;
use tidegate_chassis::{Clock, Process, Secret};

use crate::{
    app::App,
    config::{AuthConfig, Config},
    database::Database,
    metrics::Metrics,
    objects::Objects,
    role::{self, Role, Settings},
    server::Server,
    upload, worker,
};

/// A running origin.
pub struct Node {
    app: App,
    http: SocketAddr,
    internal: SocketAddr,
}

/// Runs an origin until it has drained.
///
/// # Errors
/// When a part cannot be built or a socket cannot be bound.
pub async fn run(config: Arc<Config>, process: Process) -> anyhow::Result<()> {
    let node = Node::start(&config, &process, Clock::system()).await?;
    process.drain().started().await;
    node.finish().await;
    Ok(())
}

/// Brings the schema of the database up to date, and nothing else.
///
/// # Errors
/// The database.
pub async fn migrate(config: Arc<Config>) -> anyhow::Result<()> {
    let database = Database::open(&config.database).await.context("database")?;
    database.close().await;
    tracing::info!("the database is up to date");
    Ok(())
}

impl Node {
    /// Starts all roles of the config. Sockets are bound when this returns.
    ///
    /// # Errors
    /// When a part cannot be built or a socket cannot be bound.
    pub async fn start(config: &Config, process: &Process, clock: Clock) -> anyhow::Result<Self> {
        let is_ready = process.ready("origin");
        let database = Database::open(&config.database).await.context("database")?;
        let objects = Objects::open(&config.object_store).context("object_store")?;
        let metrics = Metrics::new(process.registry());
        let app = App::new(database, objects, clock, metrics, process.drain());
        let settings = settings(config, &app)?;
        if config.roles.contains(&Role::Upload) {
            upload::remove_orphans(&settings.upload).await.context("upload.spool_dir")?;
        }
        load_tokens(&config.auth, &app)?;
        if let Some(file) = config.auth.tokens_file.clone() {
            let (app, pause) = (app.clone(), config.auth.reload_interval);
            let lines = config.auth.tokens.clone();
            process.spawn("reload_tokens", reload_tokens(app, file, lines, pause));
        }
        let public = role::public_router(&config.roles, &app, &settings);
        let tls = config.listen.tls()?;
        let http = Server::bind(config.listen.http, &config.listen, tls, public, &app).await?;
        let internal = role::internal_router(&config.roles, &app, &settings);
        let internal =
            Server::bind(config.listen.internal, &config.listen, None, internal, &app).await?;
        let node = Self { http: http.addr()?, internal: internal.addr()?, app };
        process.announce("http", node.http);
        process.announce("internal", node.internal);
        process.spawn("http", http.run());
        process.spawn("internal", internal.run());
        worker::spawn(&config.roles, &node.app, &settings, process);
        is_ready.set(true);
        Ok(node)
    }

    /// Where uploads, API, watch page and delivery are.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where the job API is.
    #[must_use]
    pub fn internal(&self) -> SocketAddr {
        self.internal
    }

    /// The shared parts.
    #[must_use]
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Waits until all connections and writes have ended, then closes the database.
    pub async fn finish(self) {
        self.app.tasks.close();
        self.app.tasks.wait().await;
        self.app.database.close().await;
    }
}

fn settings(config: &Config, app: &App) -> anyhow::Result<Settings> {
    let package_token = match &config.package.token_file {
        Some(file) => read_secret(file).context("package.token_file")?,
        None => Secret::default(),
    };
    if config.roles.contains(&Role::Package) && !package_token.is_set() {
        tracing::warn!("no package.token_file: no packager is let in");
    }
    Ok(Settings {
        upload: upload::Parts::open(app.clone(), Arc::new(config.upload.clone()))?,
        watch: Arc::new(config.watch.clone()),
        delivery: Arc::new(config.delivery.clone()),
        package: Arc::new(config.package.clone()),
        package_token,
        catalog: Arc::new(config.catalog.clone()),
        purge: Arc::new(config.purge.clone()),
    })
}

fn read_secret(file: &Path) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(Secret::new(text.trim()))
}

fn load_tokens(config: &AuthConfig, app: &App) -> anyhow::Result<()> {
    let file = config.tokens_file.as_deref();
    let count = read_tokens(file, &config.tokens, app)?;
    if count == 0 {
        tracing::warn!("no API tokens: nobody can upload");
    }
    Ok(())
}

/// Takes the tokens of the file and of the config; a file that is not there yet has none.
fn read_tokens(file: Option<&Path>, lines: &[String], app: &App) -> anyhow::Result<usize> {
    let text = match file.map(std::fs::read_to_string) {
        Some(Ok(text)) => text,
        Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context("auth.tokens_file");
        }
        _ => String::new(),
    };
    let all = text.lines().chain(lines.iter().map(String::as_str));
    app.tokens.replace(all).context("auth.tokens_file")
}

async fn reload_tokens(
    app: App,
    file: std::path::PathBuf,
    lines: Vec<String>,
    pause: std::time::Duration,
) -> anyhow::Result<()> {
    let mut seen: Option<SystemTime> = None;
    while !app.drain.is_started() {
        let changed = tokio::fs::metadata(&file).await.and_then(|facts| facts.modified()).ok();
        if changed != seen {
            match read_tokens(Some(&file), &lines, &app) {
                Ok(count) => tracing::info!(count, "API tokens loaded"),
                // The old ones stay good until the file is.
                Err(error) => {
                    tracing::error!(error = %format!("{error:#}"), "API tokens not loaded")
                }
            }
            seen = changed;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = app.drain.started() => {}
        }
    }
    Ok(())
}
