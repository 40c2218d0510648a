//! Follows the files of zones: looks at them now and then, and at once when told so.
//!
//! Invariant: a folder that cannot be read, or a file that is wrong, is said once and changes nothing that serves.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use http::{HeaderMap, header};
use tidegate_chassis::Process;

use crate::zone::{config::Config, holding::Standing, metrics::Metrics, table::ZoneTable};

/// Reads the folder, follows it, and adds `GET /zones` and `POST /reload` to the admin port.
///
/// # Errors
/// The folder cannot be read now. Files that are wrong are no error: the others serve.
pub fn watch(table: &Arc<ZoneTable>, config: &Config, process: &Process) -> anyhow::Result<()> {
    let watch = Watch {
        table: table.clone(),
        folder: config.folder.clone(),
        metrics: Metrics::register(process.registry()),
    };
    watch.look().context("the folder of zones")?;
    let routes = Router::new()
        .route("/zones", get(standing))
        .route("/reload", post(reload))
        .with_state(watch.clone());
    process.admin_routes(routes);
    let (drain, mut ticks) = (process.drain(), tokio::time::interval(config.check_every));
    process.spawn("zones", async move {
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = drain.started() => return Ok(()),
            }
            let watch = watch.clone();
            if let Ok(Err(error)) = tokio::task::spawn_blocking(move || watch.look()).await {
                tracing::error!(%error, "the folder of zones cannot be read; those that were read serve on");
            }
        }
    });
    Ok(())
}

#[derive(Clone)]
struct Watch {
    table: Arc<ZoneTable>,
    folder: Option<PathBuf>,
    metrics: Metrics,
}

impl Watch {
    /// Takes what is in the folder now.
    fn look(&self) -> std::io::Result<()> {
        if let Some(folder) = &self.folder {
            for error in self.table.take_folder(folder)? {
                self.metrics.refused.inc();
                tracing::error!(%error, "a zone is refused; what was read of it before serves on");
            }
        }
        let standing = self.table.standing();
        let count = |is: fn(&&Standing) -> bool| {
            i64::try_from(standing.iter().filter(is).count()).unwrap_or(i64::MAX)
        };
        self.metrics.zones.set(count(|standing| standing.zone.is_some()));
        self.metrics.wrong.set(count(|standing| standing.error.is_some()));
        Ok(())
    }
}

/// `GET /zones`: how it stands with every zone.
async fn standing(State(watch): State<Watch>) -> Json<Vec<Standing>> {
    Json(watch.table.standing())
}

/// `POST /reload`: takes the files now; 422 and what is wrong when one is refused.
async fn reload(State(watch): State<Watch>, headers: HeaderMap) -> (StatusCode, String) {
    // A browser sends this with every POST, a script does not.
    if headers.contains_key(header::ORIGIN) {
        return (StatusCode::FORBIDDEN, "not from a browser\n".to_owned());
    }
    let table = watch.table.clone();
    match tokio::task::spawn_blocking(move || watch.look()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        Err(_) => return (StatusCode::INTERNAL_SERVER_ERROR, "the look was cut off\n".to_owned()),
    }
    let wrong: Vec<String> = table.standing().into_iter().filter_map(|zone| zone.error).collect();
    if wrong.is_empty() {
        return (StatusCode::OK, "every zone serves as it is written\n".to_owned());
    }
    (StatusCode::UNPROCESSABLE_ENTITY, format!("{}\n", wrong.join("\n")))
}
