//! `tidegate edit`: a resource in the person's own editor, and back.
//!
//! It is written back only onto the generation that was read. What was typed is never lost: a text that is refused stays
//! in its file, and the failure names it.

use std::{env, fs, io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf};

use serde_json::Value;
use tidegate_contract::resource::{Kind, ResourceName};
use tokio::process::Command;

use super::{
    documents::{Document, Language, parse, path},
    plan::{difference, relabelled},
};
use crate::cli::{
    client::Client,
    consent::{Consent, DryRun},
    failure::{Exit, Failure},
    output::{Output, yaml},
};

/// Lets the person change a resource.
pub(super) async fn edit(
    kind: Kind,
    name: &ResourceName,
    client: &Client,
    consent: &Consent,
    out: &Output,
) -> Result<Exit, Failure> {
    let before: Document = client.get(&path(kind, name)).await?;
    let shown = Document { status: None, ..before.clone() };
    let file = write(&yaml(&shown)?)?;
    run_editor(&file).await?;
    let kept = |failure: Failure| {
        let place = format!("what you typed is in {}", file.display());
        // What somebody else did in between needs both.
        let hint = match (failure.exit, failure.hint()) {
            (Exit::Conflict, Some(hint)) => format!("{hint}; {place}"),
            _ => place,
        };
        failure.with_hint(hint)
    };
    let text = fs::read_to_string(&file)
        .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", file.display())))?;
    let invalid = |error: String| Failure::new(Exit::Invalid, error);
    let documents = parse(&text, Language::Yaml).map_err(|error| kept(invalid(error)))?;
    let [after] = &documents[..] else {
        return Err(kept(invalid("one document is expected".to_owned())));
    };
    if after.key() != before.key() {
        return Err(kept(invalid("kind and name cannot be changed".to_owned())));
    }
    // All of it was shown: labels that stand there no more shall go.
    let labels = |document: &Document| document.labels.clone().unwrap_or_default();
    let (labels_before, labels_after) = (labels(&before), labels(after));
    if after.spec == before.spec && labels_before == labels_after {
        out.note("nothing changed");
        let _ = fs::remove_file(&file);
        return Ok(Exit::Ok);
    }
    after.check().map_err(kept)?;
    let full = format!("{kind}/{name}");
    let spec = difference(&full, Some(&before.spec), Some(&after.spec));
    out.note(&(spec + &relabelled(&full, &labels_before, &labels_after)));
    let tag = before.generation.map(|generation| format!("\"{generation}\""));
    let body = serde_json::json!({
        "kind": kind, "name": name, "spec": after.spec, "labels": labels_after,
    });
    if consent.dry_run() == Some(DryRun::Server) {
        let path = format!("{}?dry_run=true", path(kind, name));
        let _: Value = client.put(&path, &body, tag).await.map_err(kept)?;
        out.note(&format!("{full} would be changed"));
    } else if consent.goes_on() {
        let _: Value = client.put(&path(kind, name), &body, tag).await.map_err(kept)?;
        out.note(&format!("{kind}/{name} changed"));
    }
    let _ = fs::remove_file(&file);
    Ok(Exit::Ok)
}

/// A file that its owner alone may read: a spec may hold what is nobody else's.
fn write(text: &str) -> Result<PathBuf, Failure> {
    let name = format!("tidegate-edit-{}.yaml", hex::encode(rand::random::<[u8; 8]>()));
    let file = env::temp_dir().join(name);
    let opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
    let written = opened.and_then(|mut open| open.write_all(text.as_bytes()));
    written.map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", file.display())))?;
    Ok(file)
}

async fn run_editor(file: &std::path::Path) -> Result<(), Failure> {
    let editor = ["VISUAL", "EDITOR"].iter().find_map(|name| env::var(name).ok());
    let editor =
        editor.filter(|editor| !editor.trim().is_empty()).unwrap_or_else(|| "vi".to_owned());
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let status = Command::new(program).args(words).arg(file).status().await;
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::new(Exit::Failed, format!("{program} ended with {status}"))),
        Err(error) => {
            let failure = Failure::new(Exit::Usage, format!("{program}: {error}"));
            Err(failure.with_hint("set EDITOR"))
        }
    }
}
