//! `tidegate export`: resources as files that `apply` takes.

use std::{fs, path::PathBuf};

use tidegate_contract::resource::Kind;

use super::{documents::Document, list};
use crate::{
    cli::{
        client::Client,
        failure::{Exit, Failure},
        output::{Output, yaml},
    },
    resource::Selector,
};

/// Writes resources of some kinds, or of all; those that a selector chooses.
pub(super) async fn export(
    kinds: Vec<Kind>,
    selector: Option<Selector>,
    to: Option<PathBuf>,
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    let kinds = if kinds.is_empty() { Kind::ALL.to_vec() } else { kinds };
    let mut documents = Vec::new();
    for kind in kinds {
        documents.extend(list(kind, selector.as_ref(), client).await?);
    }
    for document in &mut documents {
        (document.generation, document.status) = (None, None);
    }
    let Some(folder) = to else {
        if out.is_names() {
            let name = |one: &Document| format!("{}/{}", one.kind, one.name);
            out.print_text(&documents.iter().map(name).collect::<Vec<_>>().join("\n"))?;
        } else if out.is_for_people() {
            let texts = documents.iter().map(yaml).collect::<Result<Vec<_>, _>>()?;
            out.print_text(&texts.join("---\n"))?;
        } else {
            out.print_json(&documents)?;
        }
        return Ok(Exit::Ok);
    };
    for document in &documents {
        let place = folder.join(document.kind.as_str());
        let file = place.join(format!("{}.yaml", document.name));
        let written = fs::create_dir_all(&place).and_then(|()| {
            fs::write(
                &file,
                yaml(document).map_err(|error| std::io::Error::other(error.to_string()))?,
            )
        });
        written
            .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", file.display())))?;
    }
    out.note(&format!("{} resources written to {}", documents.len(), folder.display()));
    Ok(Exit::Ok)
}
