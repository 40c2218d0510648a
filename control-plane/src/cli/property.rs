//! `tidegate property`: what the PoPs serve, and how.
//!
//! `apply` replaces a property only if nobody changed it since it was read, and says what it does.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Subcommand;
use tidegate_contract::{id::PropertyId, property::Property};
use tokio::time::{Instant, sleep};

use super::{
    client::Client,
    consent::{Consent, DryRun},
    failure::{Exit, Failure},
    output::Output,
    plan,
    pop::say_change,
};
use crate::api::model::{ChangeView, PopList, PropertyList, PropertyView, property_path};

/// What is done with properties.
#[derive(Subcommand)]
pub(super) enum PropertyCommand {
    /// List properties
    List,
    /// Show one property, or all, as JSON; secrets as fingerprints, which `apply` takes for the stored ones
    Show {
        /// The property
        id: Option<PropertyId>,
    },
    /// Make or replace a property
    Apply {
        /// TOML or JSON, also as `show` prints it: then only onto the generation that was shown. - reads standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// Wait until every connected node runs it; exit code 6 when one refuses, 7 when the deadline is over
        #[arg(long)]
        wait: bool,
        /// The longest wait
        #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
        deadline: Duration,
    },
    /// Delete a property: PoPs no longer know its hosts
    Delete {
        /// The property
        id: PropertyId,
    },
}

/// What a file says.
#[derive(Debug, PartialEq)]
enum Document {
    /// A property as somebody wrote it.
    Plain(Property),
    /// A property as it was shown, with its generation.
    Shown(PropertyView),
}

impl Document {
    fn id(&self) -> &PropertyId {
        match self {
            Self::Plain(property) | Self::Shown(PropertyView { property, .. }) => &property.id,
        }
    }
}

/// Runs a command on properties.
pub(super) async fn run(
    command: PropertyCommand,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    match command {
        PropertyCommand::List => {
            let list: PropertyList = client.get("/v1/properties").await?;
            print_list(&list.properties, out)?;
        }
        PropertyCommand::Show { id: None } => {
            let list: PropertyList = client.get("/v1/properties").await?;
            if out.is_names() {
                print_list(&list.properties, out)?;
            } else {
                out.print_json(&list.properties)?;
            }
        }
        PropertyCommand::Show { id: Some(id) } => {
            let property: PropertyView = client.get(&property_path(&id)).await?;
            out.print_whole(&property, &property.property.id)?;
        }
        PropertyCommand::Apply { file, wait, deadline } => {
            let document = read(&file)?;
            if consent.dry_run() == Some(DryRun::Client) {
                out.note(&format!("property {} can be sent", document.id()));
                return Ok(Exit::Ok);
            }
            let change = apply(document, !consent.goes_on(), client).await?;
            out.print_line(&change, &change.id, |change| say_change("property", change))?;
            if wait && consent.goes_on() {
                until_applied(change.generation, deadline, client).await?;
            }
        }
        PropertyCommand::Delete { id } => {
            if !consent.goes_on() {
                plan::is_wanted(("delete", "/v1/properties/{id}"), client, consent, out).await?;
                let path = format!("{}?dry_run=true", property_path(&id));
                let change: ChangeView = client.remove(&path, None).await?;
                out.note(&format!("plan: property {id} is deleted: PoPs no longer know its hosts"));
                out.print_line(&change, &change.id, |change| {
                    let generation = change.generation;
                    format!("property {} would be deleted, generation {generation}", change.id)
                })?;
                return Ok(Exit::Ok);
            }
            client.delete(&property_path(&id)).await?;
            out.note(&format!("property {id} deleted"));
        }
    }
    Ok(Exit::Ok)
}

fn print_list(properties: &[PropertyView], out: &Output) -> Result<(), Failure> {
    out.print(&properties, ["PROPERTY", "GENERATION", "HOSTS", "ORIGINS"], |properties| {
        let row = |view: &PropertyView| {
            let origins = view.property.origins.iter().map(|origin| origin.authority.as_str());
            [
                view.property.id.to_string(),
                view.generation.to_string(),
                view.property.hosts.join(" "),
                origins.collect::<Vec<_>>().join(" "),
            ]
        };
        properties.iter().map(row).collect()
    })
}

async fn apply(document: Document, dry_run: bool, client: &Client) -> Result<ChangeView, Failure> {
    let (property, generation) = match document {
        Document::Shown(PropertyView { property, generation }) => (property, generation),
        Document::Plain(property) => {
            let before = client.find::<PropertyView>(&property_path(&property.id)).await?;
            // 0 stands for: not there yet.
            (property, before.map_or(0, |before| before.generation))
        }
    };
    let path = property_path(&property.id);
    let path = if dry_run { format!("{path}?dry_run=true") } else { path };
    client.put(&path, &property, Some(format!("\"{generation}\""))).await
}

/// Waits until every connected node runs a generation.
async fn until_applied(generation: u64, wait: Duration, client: &Client) -> Result<(), Failure> {
    let deadline = Instant::now() + wait;
    loop {
        let list: PopList = client.get("/v1/pops").await?;
        let nodes =
            || list.pops.iter().flat_map(|pop| pop.nodes.iter().map(move |node| (pop, node)));
        let refused = nodes().find_map(|(pop, node)| {
            let nack = node.nack.as_ref().filter(|nack| nack.generation >= generation)?;
            Some(format!(
                "{}/{} refused generation {}: {}",
                pop.pop, node.node, nack.generation, nack.error
            ))
        });
        if let Some(text) = refused {
            return Err(Failure::new(Exit::Invalid, text));
        }
        let behind: Vec<_> = nodes()
            .filter(|(_, node)| node.connected && node.generation < generation)
            .map(|(pop, node)| format!("{}/{}", pop.pop, node.node))
            .collect();
        if behind.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let text = format!("generation {generation} does not run yet on {}", behind.join(", "));
            return Err(Failure::new(Exit::Timeout, text));
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Reads a property from a file, as JSON when it begins with a brace and as TOML otherwise.
fn read(path: &Path) -> Result<Document, Failure> {
    let name = path.display();
    let text = if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().take(FILE_BYTES_MAX).read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    let text = text.map_err(|error| Failure::new(Exit::Usage, format!("{name}: {error}")))?;
    let read = if text.trim_start().starts_with('{') {
        read_json(&text).map_err(|error| error.to_string())
    } else {
        toml::from_str(&text).map(Document::Plain).map_err(|error| error.to_string())
    };
    read.map_err(|error| Failure::new(Exit::Invalid, format!("{name}: {error}")))
}

/// Only what was shown has a generation beside the property.
fn read_json(text: &str) -> serde_json::Result<Document> {
    let value: serde_json::Value = serde_json::from_str(text)?;
    if value.get("property").is_some() {
        serde_json::from_value(value).map(Document::Shown)
    } else {
        serde_json::from_value(value).map(Document::Plain)
    }
}

const LOOK_AGAIN: Duration = Duration::from_millis(100);
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_is_read_from_toml_and_from_json() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("property");
        let toml = "id = \"demo\"\nhosts = [\"*\"]\n[[origins]]\nauthority = \"127.0.0.1:1\"\n\
                    [cache]\ndefault_ttl = \"10s\"\n";
        fs::write(&path, toml).expect("writable");
        let Document::Plain(property) = read(&path).expect("good") else { panic!() };
        assert_eq!(property.cache.default_ttl, Some(Duration::from_secs(10)));
        fs::write(&path, serde_json::to_string(&property).expect("plain")).expect("writable");
        assert_eq!(read(&path).expect("good"), Document::Plain(property.clone()));
        let shown = PropertyView { property, generation: 7 };
        fs::write(&path, serde_json::to_string(&shown).expect("plain")).expect("writable");
        assert_eq!(read(&path).expect("good"), Document::Shown(shown));
        fs::write(&path, "id = 1").expect("writable");
        assert_eq!(read(&path).err().map(|failure| failure.exit), Some(Exit::Invalid));
    }
}
