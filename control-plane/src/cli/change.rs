//! `tidegate change`: drafts that become releases.
//!
//! What a change-set does is printed before anything is published; a conflict with what others published is told there
//! already.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::{Subcommand, ValueEnum};
use tidegate_contract::resource::{ResourceKey, SPEC_BYTES_MAX};

use super::{
    client::Client,
    consent::{Consent, DryRun},
    failure::{Exit, Failure},
    output::{Output, or_dash, time},
};
use crate::{
    api::model::{ChangeRequest, ChangeSetView, Items, PublishRequest, ReleaseAnswer, StepView},
    change::Act,
    rollout::Pace,
};

/// What is done with change-sets.
#[derive(Subcommand)]
pub(super) enum ChangeCommand {
    /// Draft a change-set
    Create {
        /// TOML or JSON with puts (kind, name, spec) and deletes (kind, name); - reads standard input
        #[arg(short, long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Take a resource away, as kind/name; may be given several times
        #[arg(long, value_name = "KIND/NAME", value_parser = parse_key)]
        delete: Vec<ResourceKey>,
        /// What it is, in a few words
        #[arg(long, default_value = "")]
        title: String,
        /// The version that it was made on; without, the newest
        #[arg(long, value_name = "VERSION")]
        base: Option<u64>,
    },
    /// List change-sets, the newest first
    List,
    /// Show a change-set and what it would do now
    Show {
        /// Its id
        id: String,
    },
    /// Agree to a change-set
    Approve {
        /// Its id
        id: String,
    },
    /// Give a change-set up
    Abandon {
        /// Its id
        id: String,
    },
    /// Make a release of a change-set
    Publish {
        /// Its id
        id: String,
        /// Who gets it at first
        #[arg(long, value_enum, default_value_t = Stage::Staged)]
        stage: Stage,
    },
}

/// Who gets a release at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Stage {
    /// One PoP, until somebody promotes it
    Canary,
    /// One PoP, then 5 %, 25 % and all, by itself
    Staged,
    /// All at once
    Fast,
}

/// Runs a command on change-sets.
pub(super) async fn run(
    command: ChangeCommand,
    client: &Client,
    out: &Output,
    consent: &Consent,
) -> Result<Exit, Failure> {
    match command {
        ChangeCommand::Create { file, delete, title, base } => {
            let mut request =
                file.map_or_else(|| Ok(ChangeRequest::default()), |file| read(&file))?;
            request.deletes.extend(delete);
            request.base = base.or(request.base);
            if !title.is_empty() {
                request.title = title;
            }
            if let Some(reason) = &consent.reason {
                request.reason.clone_from(reason);
            }
            if consent.dry_run() == Some(DryRun::Client) {
                let puts = request.puts.iter().map(|put| format!("put {}/{}", put.kind, put.name));
                let deletes = request.deletes.iter().map(|key| format!("delete {key}"));
                puts.chain(deletes).for_each(|line| out.note(&line));
                return Ok(Exit::Ok);
            }
            if !consent.goes_on() {
                let steps: Items<StepView> = client.post("/v1/validate", &request).await?;
                print_steps(&steps.items, out)?;
                return Ok(Exit::Ok);
            }
            let set: ChangeSetView = client.post("/v1/changes", &request).await?;
            print_steps(&set.steps, out)?;
            out.note(&format!("change-set {} drafted; nothing is published yet", set.id));
        }
        ChangeCommand::List => {
            let list: Items<ChangeSetView> = client.get("/v1/changes").await?;
            let header = ["CHANGE", "STATE", "BASE", "VERSION", "AUTHOR", "CREATED", "TITLE"];
            out.print(&list.items, header, |sets| sets.iter().map(row).collect())?;
        }
        ChangeCommand::Show { id } => {
            let set: ChangeSetView = client.get(&path(&id, "")).await?;
            out.note(&format!("{}: {} ({})", set.id, set.title, set.state.as_str()));
            print_steps(&set.steps, out)?;
            if let Some(conflict) = &set.conflict {
                return Err(Failure::new(Exit::Conflict, conflict.clone()));
            }
        }
        ChangeCommand::Approve { id } => act(&id, "approve", client, out, consent).await?,
        ChangeCommand::Abandon { id } => act(&id, "abandon", client, out, consent).await?,
        ChangeCommand::Publish { id, stage } => {
            let set: ChangeSetView = client.get(&path(&id, "")).await?;
            if let Some(conflict) = &set.conflict {
                return Err(Failure::new(Exit::Conflict, conflict.clone()));
            }
            print_steps(&set.steps, out)?;
            set.turns.iter().for_each(|turn| out.note(turn));
            let goes_on = match stage {
                Stage::Fast => consent.confirm(&id)?,
                Stage::Canary | Stage::Staged => consent.goes_on(),
            };
            if !goes_on {
                return Ok(Exit::Ok);
            }
            let reason = consent.reason.clone().unwrap_or_default();
            let request = PublishRequest { stage: stage.pace(), reason };
            let done: ReleaseAnswer = client.post(&path(&id, "/publish"), &request).await?;
            out.note(&format!("version {} goes out; see tidegate release status", done.version));
        }
    }
    Ok(Exit::Ok)
}

impl Stage {
    fn pace(self) -> Pace {
        match self {
            Self::Canary => Pace::Canary,
            Self::Staged => Pace::Staged,
            Self::Fast => Pace::Fast,
        }
    }
}

/// Prints what is different, one resource a line.
pub(super) fn print_steps(steps: &Vec<StepView>, out: &Output) -> Result<(), Failure> {
    out.print(steps, ["ACT", "RESOURCE"], |steps| {
        let row = |step: &StepView| {
            let act = match step.act {
                Act::Create => "create",
                Act::Update => "update",
                Act::Delete => "delete",
            };
            [act.to_owned(), format!("{}/{}", step.kind, step.name)]
        };
        steps.iter().map(row).collect()
    })
}

async fn act(
    id: &str,
    verb: &str,
    client: &Client,
    out: &Output,
    consent: &Consent,
) -> Result<(), Failure> {
    if consent.goes_on() {
        let nothing = serde_json::Value::Null;
        let set: ChangeSetView = client.post(&path(id, &format!("/{verb}")), &nothing).await?;
        out.note(&format!("change-set {} is {}", set.id, set.state.as_str()));
    }
    Ok(())
}

fn row(set: &ChangeSetView) -> [String; 7] {
    [
        set.id.clone(),
        set.state.as_str().to_owned(),
        set.base.to_string(),
        or_dash(set.version),
        set.author.clone(),
        time(set.created_unix_ms),
        set.title.clone(),
    ]
}

fn path(id: &str, rest: &str) -> String {
    let id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
    format!("/v1/changes/{id}{rest}")
}

fn parse_key(text: &str) -> Result<ResourceKey, String> {
    ResourceKey::parse(text).ok_or_else(|| format!("{text:?} is not kind/name"))
}

/// Reads a change from a file, as JSON when it begins with a brace and as TOML otherwise.
fn read(path: &Path) -> Result<ChangeRequest, Failure> {
    let name = path.display();
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().take(FILE_BYTES_MAX).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::new(Exit::Usage, format!("{name}: {error}")))?;
    let parsed = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        toml::from_str(&text).map_err(|error| error.to_string())
    };
    parsed.map_err(|error| Failure::new(Exit::Invalid, format!("{name}: {error}")))
}

/// A few of the largest specs; the server takes less.
const FILE_BYTES_MAX: u64 = 8 * SPEC_BYTES_MAX as u64;

#[cfg(test)]
mod tests {
    use tidegate_contract::resource::{Kind, ResourceName};

    use super::*;
    use crate::change::Put;

    #[test]
    fn a_change_is_read_from_toml_and_from_json() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("change");
        let toml = "title = \"t\"\n[[puts]]\nkind = \"origin\"\nname = \"main\"\n\
                    spec = { authority = \"a:1\" }\n[[deletes]]\nkind = \"pop\"\nname = \"fra\"\n";
        let put = Put {
            kind: Kind::Origin,
            name: ResourceName::parse("main").expect("good"),
            spec: serde_json::json!({"authority": "a:1"}),
            labels: None,
        };
        fs::write(&file, toml).expect("writable");
        let request = read(&file).expect("good");
        assert_eq!(request.puts, [put]);
        assert_eq!(request.deletes[0].to_string(), "pop/fra");
        fs::write(&file, serde_json::to_string(&request).expect("plain")).expect("writable");
        assert_eq!(read(&file).expect("good").puts, request.puts);
        fs::write(&file, "surprise = 1").expect("writable");
        assert_eq!(read(&file).err().map(|failure| failure.exit), Some(Exit::Invalid));
        assert!(parse_key("pop").is_err());
    }
}
