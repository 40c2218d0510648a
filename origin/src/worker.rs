//! Background work of the enabled roles. Each ends when the drain begins; one that ends earlier ends the process.

use tidegate_chassis::Process;

use crate::{
    app::App,
    catalog, package, purge,
    role::{Role, Settings},
    upload,
};

/// Starts the background work of the roles.
pub fn spawn(roles: &[Role], app: &App, settings: &Settings, process: &Process) {
    for role in roles {
        match role {
            Role::Upload => {
                let work = upload::sweep_uploads(settings.upload.clone());
                process.spawn("sweep_uploads", done(work));
            }
            Role::Package => {
                let work = package::end_hopeless_jobs(app.clone(), settings.package.clone());
                process.spawn("end_hopeless_jobs", done(work));
            }
            Role::Catalog => {
                let work = catalog::remove_garbage(app.clone(), settings.catalog.clone());
                process.spawn("remove_garbage", done(work));
            }
            Role::Purge => {
                let work = purge::send_orders(app.clone(), settings.purge.clone());
                process.spawn("send_orders", work);
            }
            Role::Watch | Role::Delivery => {}
        }
    }
}

async fn done(work: impl Future<Output = ()>) -> anyhow::Result<()> {
    work.await;
    Ok(())
}
