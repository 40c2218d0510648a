//! What applying documents would change: pure, from what is there and what shall be.
//!
//! A resource that is as it shall be is not sent, so that applying twice changes nothing the second time.

use std::collections::BTreeSet;

use serde_json::Value;
use similar::TextDiff;
use tidegate_contract::resource::Kind;

use super::documents::Document;
use crate::cli::output::yaml;

/// What becomes of one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    Change,
    Keep,
    Delete,
}

/// What becomes of everything.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The steps in order; of what is deleted the document that is there.
    pub(super) steps: Vec<(Step, Document)>,
    /// The differences as text.
    pub(super) difference: String,
}

impl Step {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "created",
            Self::Change => "changed",
            Self::Keep => "unchanged",
            Self::Delete => "deleted",
        }
    }
}

impl Plan {
    /// Compares; with `prune` what is there, of a kind that is wanted, and not wanted is deleted.
    pub(super) fn of(there: &[Document], wanted: &[Document], prune: bool) -> Self {
        let mut plan = Self::default();
        for document in wanted {
            let before = there.iter().find(|before| before.key() == document.key());
            let step = match before {
                None => Step::Create,
                Some(before) if before.spec == document.spec => Step::Keep,
                Some(_) => Step::Change,
            };
            plan.push(step, before, Some(document));
        }
        if prune {
            let kinds: BTreeSet<Kind> = wanted.iter().map(|document| document.kind).collect();
            let is_surplus = |before: &&Document| {
                kinds.contains(&before.kind)
                    && !wanted.iter().any(|document| document.key() == before.key())
            };
            for before in there.iter().filter(is_surplus) {
                plan.push(Step::Delete, Some(before), None);
            }
        }
        plan
    }

    /// Whether anything would be different.
    pub(super) fn changes(&self) -> bool {
        self.steps.iter().any(|(step, _)| *step != Step::Keep)
    }

    /// The plan in a line.
    pub(super) fn summary(&self) -> String {
        let count = |wanted: Step| self.steps.iter().filter(|(step, _)| *step == wanted).count();
        format!(
            "{} to create, {} to change, {} to delete, {} unchanged",
            count(Step::Create),
            count(Step::Change),
            count(Step::Delete),
            count(Step::Keep)
        )
    }

    fn push(&mut self, step: Step, before: Option<&Document>, after: Option<&Document>) {
        let Some(document) = after.or(before) else { return };
        if step != Step::Keep {
            let name = format!("{}/{}", document.kind, document.name.as_str());
            self.difference.push_str(&difference(&name, before, after));
        }
        self.steps.push((step, document.clone()));
    }
}

/// The difference of two states of a resource, as `diff -u` writes it.
pub(super) fn difference(
    name: &str,
    before: Option<&Document>,
    after: Option<&Document>,
) -> String {
    let text = |document: Option<&Document>| {
        document
            .map(|document| yaml(&sorted(&document.spec)).unwrap_or_default())
            .unwrap_or_default()
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
    use super::*;
    use crate::cli::resource::documents::{Language, parse};

    fn documents(text: &str) -> Vec<Document> {
        parse(text, Language::Yaml).expect("good")
    }

    #[test]
    fn a_plan_says_what_becomes_of_each() {
        let there = documents(
            "{kind: pop, name: fra, generation: 4, spec: {role: edge, x: 1}}\n---\n\
             {kind: pop, name: old, spec: {role: edge}}\n---\n\
             {kind: pop, name: same, spec: {a: 1, b: 2}}\n---\n\
             {kind: property, name: other, spec: {}}\n",
        );
        let wanted = documents(
            "{kind: pop, name: ams, spec: {role: edge}}\n---\n\
             {kind: pop, name: fra, spec: {role: shield, x: 1}}\n---\n\
             {kind: pop, name: same, spec: {b: 2, a: 1}}\n",
        );
        let plan = Plan::of(&there, &wanted, true);
        let steps: Vec<_> =
            plan.steps.iter().map(|(step, document)| (document.name.as_str(), *step)).collect();
        let expected = [
            ("ams", Step::Create),
            ("fra", Step::Change),
            ("same", Step::Keep),
            ("old", Step::Delete),
        ];
        assert_eq!(steps, expected, "kinds that are not wanted at all are not pruned");
        assert_eq!(plan.summary(), "1 to create, 1 to change, 1 to delete, 1 unchanged");
        assert!(
            plan.difference.contains("-role: edge\n+role: shield\n x: 1"),
            "{}",
            plan.difference
        );
        assert!(
            Plan::of(&there, &wanted, false).steps.iter().all(|(step, _)| *step != Step::Delete)
        );
        assert!(!Plan::of(&there, &there, true).changes());
    }
}
