//! The roles of this program and the routes of each.
//!
//! A role is switched on by its name in `roles`; one that is off has neither routes nor background work.

use std::{sync::Arc, time::Instant};

use axum::{
    Json, Router,
    extract::Request,
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use serde::{Deserialize, Serialize};
use tidegate_chassis::Secret;
use utoipa::{OpenApi, openapi};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    app::App,
    catalog, delivery,
    metrics::Metrics,
    package, purge, upload, watch,
    web::{ApiError, allow_any_origin},
};

/// A part of the program that can be switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Role {
    /// Resumable uploads.
    Upload,
    /// The watch page.
    Watch,
    /// Manifests and segments for the edge.
    Delivery,
    /// The job API of packagers.
    Package,
    /// Videos and their state.
    Catalog,
    /// Orders purges at the control plane.
    Purge,
}

/// What the roles need to be built: their settings, and what must be there once in a process.
#[derive(Clone)]
pub struct Settings {
    /// Of uploads: opened, since it holds the locks.
    pub upload: upload::Parts,
    /// Of the watch page.
    pub watch: Arc<watch::Config>,
    /// Of the delivery.
    pub delivery: Arc<delivery::Config>,
    /// Of the job API.
    pub package: Arc<package::Config>,
    /// What packagers show.
    pub package_token: Secret,
    /// Of the catalog.
    pub catalog: Arc<catalog::Config>,
    /// Of the purge outbox.
    pub purge: Arc<purge::Config>,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] =
        [Self::Upload, Self::Watch, Self::Delivery, Self::Package, Self::Catalog, Self::Purge];

    /// The name in the config and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Watch => "watch",
            Self::Delivery => "delivery",
            Self::Package => "package",
            Self::Catalog => "catalog",
            Self::Purge => "purge",
        }
    }

    /// What this role serves to everyone.
    fn public_routes(self, app: &App, settings: &Settings) -> OpenApiRouter {
        match self {
            Self::Upload => upload::routes(settings.upload.clone()),
            Self::Watch => watch::routes(settings.watch.clone()),
            Self::Delivery => delivery::routes(app.clone(), settings.delivery.clone()),
            Self::Catalog => catalog::routes(app.clone(), settings.catalog.clone()),
            Self::Package | Self::Purge => OpenApiRouter::default(),
        }
    }
}

/// Everything that is served to everyone, and `/openapi.json` that describes it.
pub fn public_router(roles: &[Role], app: &App, settings: &Settings) -> Router {
    let described = roles.iter().fold(OpenApiRouter::with_openapi(Api::openapi()), |all, role| {
        all.merge(count_requests(role.public_routes(app, settings), *role, &app.metrics))
    });
    let (router, api) = described.split_for_parts();
    let api = Arc::new(api);
    let show_api = move || async move { Json::<openapi::OpenApi>((*api).clone()) };
    // Outermost, so that preflight requests are answered on every path, whatever methods it has.
    finish(router.route("/openapi.json", get(show_api)))
        .layer(middleware::from_fn(allow_any_origin))
}

/// What is served to packagers alone.
pub fn internal_router(roles: &[Role], app: &App, settings: &Settings) -> Router {
    let mut router = Router::new();
    if roles.contains(&Role::Package) {
        let (config, token) = (settings.package.clone(), settings.package_token.clone());
        let routes = OpenApiRouter::from(package::routes(app.clone(), config, token));
        router = router.merge(count_requests(routes, Role::Package, &app.metrics));
    }
    finish(router)
}

fn finish(router: Router) -> Router {
    router.fallback(ApiError::no_route).method_not_allowed_fallback(ApiError::no_method)
}

fn count_requests(router: OpenApiRouter, role: Role, metrics: &Metrics) -> OpenApiRouter {
    let metrics = metrics.clone();
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        observe(metrics.clone(), role, request, next)
    }))
}

async fn observe(metrics: Metrics, role: Role, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let response = next.run(request).await;
    let seconds = begun.elapsed().as_secs_f64();
    let class = match response.status().as_u16() {
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    };
    metrics.requests.with_label_values(&[role.as_str(), class]).inc();
    metrics.request_seconds.with_label_values(&[role.as_str()]).observe(seconds);
    tracing::debug!(role = role.as_str(), %method, status = response.status().as_u16(), seconds, "answered");
    response
}

/// What stands at the top of the API's description.
#[derive(OpenApi)]
#[openapi(
    info(title = "Tidegate origin", description = "Upload (tus 1.0), catalog and delivery of videos."),
    tags(
        (name = "upload", description = "Resumable uploads"),
        (name = "catalog", description = "Videos and their state"),
        (name = "delivery", description = "Manifests and segments"),
        (name = "watch", description = "The watch page"),
    )
)]
struct Api;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_has_one_name_in_config_metrics_and_flags() {
        for role in Role::ALL {
            let json = serde_json::to_string(&role).unwrap();
            assert_eq!(json, format!("{:?}", role.as_str()));
            let value = clap::ValueEnum::to_possible_value(&role).unwrap();
            assert_eq!(value.get_name(), role.as_str());
        }
    }
}
