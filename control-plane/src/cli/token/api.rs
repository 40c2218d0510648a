//! `tidegate token create, list, revoke`: API tokens, over the API.
//!
//! A token's text is printed once, alone on standard output, so that it can go straight into a file.

use clap::Args;

use crate::{
    access::Grant,
    api::{
        access_model::{TokenRequest, TokenView},
        model::Items,
    },
    cli::{
        client::Client,
        consent::Consent,
        failure::{Exit, Failure},
        output::{Output, or_dash, time},
    },
};

/// What a new token shall be.
#[derive(Args)]
pub(in crate::cli) struct CreateArgs {
    /// Whose it is; tokens of one label are one person's
    #[arg(long)]
    label: String,
    /// What it may do, such as purge:property/demo or pop:drain:pop/eu-*; may be given several times
    #[arg(long, required_unless_present = "role", value_name = "SCOPE")]
    scope: Vec<Grant>,
    /// A role whose scopes it has; may be given several times
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// How long it is good, as 90d; without, until it is revoked
    #[arg(long, value_name = "TIME")]
    lifetime: Option<String>,
}

/// Makes a token.
pub(super) async fn create(
    args: CreateArgs,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    let CreateArgs { label, scope, role, lifetime } = args;
    let scopes: Vec<_> = scope.iter().map(ToString::to_string).collect();
    let held = scopes.iter().cloned().chain(role.iter().map(|role| format!("role {role}")));
    out.note(&format!("token for {label}: {}", held.collect::<Vec<_>>().join(", ")));
    if !consent.goes_on() {
        return Ok(Exit::Ok);
    }
    let reason = consent.reason.clone().unwrap_or_default();
    let body = TokenRequest { label, scopes, roles: role, lifetime, reason };
    let made: TokenView = client.post("/v1/tokens", &body).await?;
    let text = made.token.clone().unwrap_or_default();
    out.print_line(&made, &text, |_| text.clone())?;
    out.note(&format!("token {} is shown this once", made.id));
    Ok(Exit::Ok)
}

/// Lists tokens.
pub(super) async fn list(client: &Client, out: &Output) -> Result<Exit, Failure> {
    let list: Items<TokenView> = client.get("/v1/tokens").await?;
    out.print(&list.items, ["TOKEN", "LABEL", "ROLES", "SCOPES", "MADE", "ENDS"], |tokens| {
        let row = |token: &TokenView| {
            [
                token.id.clone(),
                token.label.clone(),
                token.roles.join(" "),
                token.scopes.join(" "),
                time(token.created_unix_ms),
                or_dash(token.expires_unix_ms.map(time)),
            ]
        };
        tokens.iter().map(row).collect()
    })?;
    Ok(Exit::Ok)
}

/// Makes a token worthless.
pub(super) async fn revoke(
    id: &str,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    out.note(&format!("token {id} is worth nothing from the next call on"));
    if consent.goes_on() {
        client.delete(&format!("/v1/tokens/{id}")).await?;
    }
    Ok(Exit::Ok)
}
