//! Resources as people write them: files and folders of TOML, JSON and YAML.
//!
//! A document is `kind`, `name`, `spec` and perhaps `labels`; what a server shows beside them (`generation`, `status`) may stand there and
//! is not sent back. A file holds one document, several (`---` in YAML), a list, or `items` as `export` writes it.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_contract::{
    resource::{Kind, RESOURCES_MAX, ResourceName, SPEC_BYTES_MAX},
    resource_spec::Spec,
    zone,
};
use url::form_urlencoded::Serializer;

use crate::{
    cli::failure::{Exit, Failure},
    resource::{Labels, Selector},
};

/// One resource, as it is written and as a server shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    /// Its kind.
    pub(super) kind: Kind,
    /// Its name.
    pub(super) name: ResourceName,
    /// Which change made it what it is; only a server says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) generation: Option<u64>,
    /// What operators call it by, all of it; absent: as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) labels: Option<Labels>,
    /// What it shall be.
    pub(super) spec: Value,
    /// How it is; only a server says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<Value>,
}

impl Document {
    /// What it is called everywhere.
    pub(super) fn key(&self) -> (Kind, &ResourceName) {
        (self.kind, &self.name)
    }

    /// Checks the spec as nodes and the control plane do, as far as one resource alone can be checked.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let json = self.spec.to_string();
        let checked = Spec::parse(self.kind, &self.name, json.as_bytes());
        let wrong = |error: &dyn std::fmt::Display| {
            Failure::new(Exit::Invalid, format!("{}/{}: {error}", self.kind, self.name))
        };
        if let Spec::DnsZone(spec) = checked.map_err(|error| wrong(&error))? {
            zone::read(self.name.as_str(), &spec.zone).map_err(|error| wrong(&error))?;
        }
        Ok(())
    }

    /// Where it is.
    pub(super) fn path(&self) -> String {
        path(self.kind, &self.name)
    }
}

/// Where a resource is.
pub(super) fn path(kind: Kind, name: &ResourceName) -> String {
    format!("/v1/resources/{}/{}", kind.as_str(), name.as_str())
}

/// Where the resources of a kind are, or those that a selector chooses.
pub(super) fn list_path(kind: Kind, selector: Option<&Selector>) -> String {
    let path = format!("/v1/resources/{kind}");
    match selector {
        None => path,
        Some(selector) => {
            let mut query = Serializer::new(String::new());
            format!("{path}?{}", query.append_pair("labels", &selector.to_string()).finish())
        }
    }
}

/// Reads files, and folders with all that is below them; `-` is standard input.
pub(super) fn read_all(places: &[PathBuf]) -> Result<Vec<Document>, Failure> {
    let mut documents: Vec<Document> = Vec::new();
    for place in places {
        for file in files(place, 0)? {
            let text = read(&file)?;
            let found = parse(&text, format_of(&file, &text));
            let found = found.map_err(|error| {
                Failure::new(Exit::Invalid, format!("{}: {error}", file.display()))
            })?;
            documents.extend(found);
            if documents.len() > RESOURCES_MAX {
                return Err(usage(format!("more than {RESOURCES_MAX} resources")));
            }
        }
    }
    documents.sort_by(|a, b| a.key().cmp(&b.key()));
    if let Some(twice) = documents.windows(2).find(|pair| pair[0].key() == pair[1].key()) {
        let (kind, name) = twice[0].key();
        return Err(Failure::new(
            Exit::Invalid,
            format!("{kind}/{} stands there twice", name.as_str()),
        ));
    }
    Ok(documents)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Json,
    Toml,
    Yaml,
}

/// Reads the documents of a text.
pub(super) fn parse(text: &str, language: Language) -> Result<Vec<Document>, String> {
    let mut documents = Vec::new();
    match language {
        Language::Json => {
            let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
            for value in values {
                take(value.map_err(|error| error.to_string())?, &mut documents)?;
            }
        }
        Language::Toml => {
            let value: Value = toml::from_str(text).map_err(|error| error.to_string())?;
            take(value, &mut documents)?;
        }
        Language::Yaml => {
            for document in serde_yaml::Deserializer::from_str(text) {
                let value = Value::deserialize(document).map_err(|error| error.to_string())?;
                if !value.is_null() {
                    take(value, &mut documents)?;
                }
            }
        }
    }
    Ok(documents)
}

fn take(value: Value, documents: &mut Vec<Document>) -> Result<(), String> {
    match value {
        Value::Array(values) => values.into_iter().try_for_each(|value| take(value, documents)),
        Value::Object(mut object)
            if object.contains_key("items") && !object.contains_key("kind") =>
        {
            take(object.remove("items").unwrap_or_default(), documents)
        }
        value => {
            let name = format!("{}/{}", text_of(&value, "kind"), text_of(&value, "name"));
            let document: Document =
                serde_json::from_value(value).map_err(|error| format!("{name}: {error}"))?;
            if !document.spec.is_object() {
                return Err(format!("{name}: a spec is a table of fields"));
            }
            if document.spec.to_string().len() > SPEC_BYTES_MAX {
                return Err(format!("{name}: a spec has at most {SPEC_BYTES_MAX} bytes"));
            }
            documents.push(document);
            Ok(())
        }
    }
}

fn text_of<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or("?")
}

fn format_of(file: &Path, text: &str) -> Language {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("json") => Language::Json,
        Some("toml") => Language::Toml,
        Some("yaml" | "yml") => Language::Yaml,
        _ if text.trim_start().starts_with(['{', '['])
            && serde_json::from_str::<Value>(text).is_ok() =>
        {
            Language::Json
        }
        _ if toml::from_str::<toml::Table>(text).is_ok() => Language::Toml,
        _ => Language::Yaml,
    }
}

/// The files below a place, in the order of their names. Links within a folder are not followed.
fn files(place: &Path, depth: usize) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: io::Error| usage(format!("{}: {error}", place.display()));
    if place == Path::new("-") {
        return Ok(vec![place.to_owned()]);
    }
    if depth == 0 && !fs::metadata(place).map_err(failed)?.is_dir() {
        return Ok(vec![place.to_owned()]);
    }
    if depth > DEPTH_MAX {
        return Err(usage(format!(
            "{}: folders below folders, more than {DEPTH_MAX}",
            place.display()
        )));
    }
    let mut entries: Vec<_> =
        fs::read_dir(place).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut found = Vec::new();
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        let is_ours = path
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| ["json", "toml", "yaml", "yml"].contains(&extension));
        if kind.is_dir() && !is_hidden {
            found.extend(files(&path, depth + 1)?);
        } else if kind.is_file() && is_ours && !is_hidden {
            found.push(path);
        }
    }
    Ok(found)
}

fn read(file: &Path) -> Result<String, Failure> {
    let failed = |error: io::Error| usage(format!("{}: {error}", file.display()));
    let mut text = String::new();
    if file == Path::new("-") {
        io::stdin().take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    } else {
        let open = fs::File::open(file).map_err(failed)?;
        open.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    }
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(usage(format!("{}: more than {FILE_BYTES_MAX} bytes", file.display())));
    }
    Ok(text)
}

fn usage(text: String) -> Failure {
    Failure::new(Exit::Usage, text)
}

const DEPTH_MAX: usize = 8;
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_language_says_the_same() {
        let toml = "kind = \"pop\"\nname = \"fra\"\n[spec]\nrole = \"edge\"\n";
        let yaml = "kind: pop\nname: fra\nspec:\n  role: edge\n";
        let labelled = parse(&format!("{yaml}labels: {{tier: gold}}\n"), Language::Yaml);
        let labels = labelled.expect("good")[0].labels.clone().expect("said");
        assert_eq!(labels.to_string(), "tier=gold");
        let json =
            r#"{"items":[{"kind":"pop","name":"fra","generation":3,"spec":{"role":"edge"}}]}"#;
        let one = parse(toml, Language::Toml).expect("good");
        assert_eq!(one[0].spec, json!({"role": "edge"}));
        assert_eq!(parse(yaml, Language::Yaml).expect("good"), one);
        assert_eq!(parse(json, Language::Json).expect("good")[0].generation, Some(3));
        let two = parse(&format!("{yaml}---\n{}", yaml.replace("fra", "ams")), Language::Yaml);
        assert_eq!(two.expect("good").len(), 2);
        for (text, name) in [(toml, "a.toml"), (yaml, "a.yml"), (json, "a.json")] {
            assert_eq!(format_of(Path::new(name), text), format_of(Path::new("-"), text), "{name}");
        }
    }

    #[test]
    fn what_is_no_resource_is_named() {
        for (text, word) in [
            (r#"{"kind":"pop","name":"fra"}"#, "pop/fra"),
            (r#"{"kind":"ship","name":"fra","spec":{}}"#, "ship/fra"),
            (r#"{"kind":"pop","name":"FRA","spec":{}}"#, "pop/FRA"),
            (r#"{"kind":"pop","name":"fra","spec":[]}"#, "a spec is a table"),
            (r#"{"kind":"pop","name":"fra","spec":{},"labels":{"a b":""}}"#, "name of a label"),
            (r#"{"kind":"pop","name":"fra","sepc":{}}"#, "sepc"),
            ("{", "EOF"),
        ] {
            let error = parse(text, Language::Json).expect_err(text);
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_folder_is_read_with_what_is_below_it_and_nothing_twice() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
            fs::write(path, text).expect("writable");
        };
        write("b/pops.yaml", "kind: pop\nname: fra\nspec: {role: edge}\n");
        write("a.toml", "kind = \"property\"\nname = \"demo\"\n[spec]\nhosts = [\"a\"]\n");
        write("README.md", "not a resource");
        write(".git/x.yaml", "neither");
        let read = read_all(&[folder.path().to_owned()]).expect("good");
        let names: Vec<_> = read.iter().map(|document| document.path()).collect();
        assert_eq!(names, ["/v1/resources/property/demo", "/v1/resources/pop/fra"]);
        write("c.json", r#"{"kind":"pop","name":"fra","spec":{}}"#);
        let twice = read_all(&[folder.path().to_owned()]).expect_err("twice");
        assert!(twice.to_string().contains("pop/fra"), "{twice}");
    }
}
