//! `tidegate get`: resources of a kind, or one, once or whenever they change.

use serde_json::Value;
use tidegate_contract::resource::{Kind, ResourceName};

use super::{
    documents::{Document, path},
    list,
};
use crate::{
    cli::{
        client::Client,
        failure::{Exit, Failure},
        output::{Output, or_dash},
        watch::{Shown, show},
    },
    resource::Selector,
};

/// Shows resources.
pub(super) async fn get(
    kind: Kind,
    name: Option<ResourceName>,
    selector: Option<Selector>,
    watch: bool,
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    if let (Some(name), Some(_)) = (&name, &selector) {
        let text = format!("{kind}/{name} is one: a selector chooses among all");
        return Err(Failure::new(Exit::Usage, text));
    }
    let ask = async || match &name {
        Some(name) => Ok(vec![client.get::<Document>(&path(kind, name)).await?]),
        None => list(kind, selector.as_ref(), client).await,
    };
    show(watch, out, ask, |documents| {
        print(documents, name.is_some(), out)?;
        Ok(Shown::for_good(Exit::Ok))
    })
    .await
}

fn print(documents: &[Document], is_one: bool, out: &Output) -> Result<(), Failure> {
    // One that was asked for by its name is an object, not a list of one.
    if is_one && !out.is_for_people() {
        return match documents {
            [one] => out.print(one, ["NAME"], |one| vec![[one.name.to_string()]]),
            _ => Ok(()),
        };
    }
    let width = if out.is_wide() { SUMMARY_CHARS_WIDE } else { SUMMARY_CHARS };
    let row = |document: &Document| {
        let summary = summary(&document.spec, width);
        [document.name.to_string(), or_dash(document.generation), summary]
    };
    if !out.is_wide() {
        return out.print(&documents, ["NAME", "GENERATION", "SPEC"], |documents| {
            documents.iter().map(row).collect()
        });
    }
    out.print(&documents, ["NAME", "GENERATION", "LABELS", "SPEC"], |documents| {
        let wide = |document: &Document| {
            let [name, generation, summary] = row(document);
            let labels = document.labels.as_ref().map(ToString::to_string);
            [name, generation, or_dash(labels), summary]
        };
        documents.iter().map(wide).collect()
    })
}

/// The plain fields of a spec, as far as they fit.
fn summary(spec: &Value, width: usize) -> String {
    let word = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(values) if values.iter().all(Value::is_string) => {
            Some(values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","))
        }
        _ => None,
    };
    let fields = spec.as_object().into_iter().flatten();
    let words = fields.filter_map(|(name, value)| Some(format!("{name}={}", word(value)?)));
    let line = words.collect::<Vec<_>>().join(" ").replace(char::is_control, " ");
    if line.chars().count() <= width {
        return line;
    }
    line.chars().take(width - 1).chain(['…']).collect()
}

const SUMMARY_CHARS: usize = 60;
const SUMMARY_CHARS_WIDE: usize = 200;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_summary_is_one_line_that_fits() {
        let spec = json!({"role": "edge", "hosts": ["a", "b"], "deep": {"x": 1}, "n": 3});
        assert_eq!(summary(&spec, 60).split(' ').count(), 3);
        assert!(summary(&spec, 60).contains("hosts=a,b"));
        assert_eq!(summary(&json!({"a": "x\ny".repeat(50)}), 10).chars().count(), 10);
    }
}
