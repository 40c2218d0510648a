//! What a change would do, in words and as a difference: pure, from the steps that the server found.
//!
//! The server compares, since it alone knows the one spelling of a spec and what stands behind a secret's fingerprint; so
//! applying twice changes nothing the second time.

use std::collections::BTreeSet;

use serde_json::Value;
use similar::TextDiff;
use tidegate_contract::resource::Kind;

use super::documents::Document;
use crate::{api::model::StepView, change::Act, cli::output::yaml, resource::Labels};

/// A step in the past tense.
pub(super) fn done(act: Act) -> &'static str {
    match act {
        Act::Create => "created",
        Act::Update => "changed",
        Act::Delete => "deleted",
    }
}

/// What is there, of a kind that is wanted, and not wanted.
pub(super) fn surplus<'a>(there: &'a [Document], wanted: &[Document]) -> Vec<&'a Document> {
    let kinds: BTreeSet<Kind> = wanted.iter().map(|document| document.kind).collect();
    let is_surplus = |before: &&Document| {
        kinds.contains(&before.kind)
            && !wanted.iter().any(|document| document.key() == before.key())
    };
    there.iter().filter(is_surplus).collect()
}

/// The steps in a line.
pub(super) fn outline(steps: &[StepView], wanted: usize) -> String {
    let count = |act: Act| steps.iter().filter(|step| step.act == act).count();
    let (created, changed) = (count(Act::Create), count(Act::Update));
    let kept = wanted.saturating_sub(created + changed);
    let deleted = count(Act::Delete);
    format!("{created} to create, {changed} to change, {deleted} to delete, {kept} unchanged")
}

/// The difference that the steps make, as `diff -u` writes it.
pub(super) fn differences(steps: &[StepView]) -> String {
    let one = |step: &StepView| {
        let name = format!("{}/{}", step.kind, step.name);
        let spec = difference(&name, step.before.as_ref(), step.after.as_ref());
        spec + &relabelled(&name, &step.labels_before, &step.labels_after)
    };
    steps.iter().map(one).collect()
}

/// The difference of the labels of a resource; empty when there is none.
pub(super) fn relabelled(name: &str, before: &Labels, after: &Labels) -> String {
    let value = |labels: &Labels| {
        (!labels.is_empty()).then(|| serde_json::to_value(labels).unwrap_or_default())
    };
    difference(&format!("{name} labels"), value(before).as_ref(), value(after).as_ref())
}

/// The difference of two specs of a resource.
pub(super) fn difference(name: &str, before: Option<&Value>, after: Option<&Value>) -> String {
    let text = |spec: Option<&Value>| {
        spec.map(|spec| yaml(&sorted(spec)).unwrap_or_default()).unwrap_or_default()
    };
    let (before, after) = (text(before), text(after));
    TextDiff::from_lines(&before, &after)
        .unified_diff()
        .context_radius(CONTEXT_LINES)
        .header(&format!("{name} (there)"), &format!("{name} (wanted)"))
        .to_string()
}

/// Fields in the order of their names, whatever order they were written in.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut fields: Vec<_> = object.iter().collect();
            fields.sort_by_key(|(name, _)| name.as_str());
            fields.into_iter().map(|(name, value)| (name.clone(), sorted(value))).collect()
        }
        Value::Array(values) => values.iter().map(sorted).collect(),
        value => value.clone(),
    }
}

const CONTEXT_LINES: usize = 3;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::resource::documents::{Language, parse};

    #[test]
    fn only_kinds_that_are_wanted_are_pruned() {
        let documents = |text| parse(text, Language::Yaml).expect("good");
        let there = documents(
            "{kind: pop, name: fra, spec: {role: edge}}\n---\n{kind: pop, name: old, spec: {}}\n---\n\
             {kind: origin, name: other, spec: {}}\n",
        );
        let wanted = documents("{kind: pop, name: fra, spec: {role: shield}}\n");
        let names: Vec<_> = surplus(&there, &wanted).iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["old"]);
    }

    #[test]
    fn a_difference_is_of_fields_in_order() {
        let step: StepView = serde_json::from_value(json!({
            "kind": "pop", "name": "fra", "act": "update",
            "before": {"x": 1, "role": "edge"}, "after": {"role": "shield", "x": 1},
            "labels_after": {"tier": "gold"},
        }))
        .expect("a step");
        let text = differences(std::slice::from_ref(&step));
        assert!(text.contains("-role: edge\n+role: shield\n x: 1"), "{text}");
        assert!(text.contains("pop/fra labels") && text.contains("+tier: gold"), "{text}");
        assert_eq!(relabelled("pop/fra", &step.labels_after, &step.labels_after), "");
        let summary = outline(&[step], 3);
        assert_eq!(summary, "0 to create, 1 to change, 0 to delete, 2 unchanged");
    }
}
