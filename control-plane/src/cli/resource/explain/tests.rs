//! What is explained is what validation takes.

use tidegate_contract::{resource::ResourceName, resource_spec::Spec};

use super::*;
use crate::cli::resource::documents::{Language, parse};

#[test]
fn every_example_reads_as_what_nodes_take() {
    for kind in Kind::ALL {
        if let Some(example) = words(kind).1 {
            let documents = parse(example, Language::Toml).expect("good");
            assert_eq!(documents[0].kind, kind);
            documents[0].check().expect("an example that is taken");
        }
        let text = explain(kind.as_str()).expect("known");
        assert!(
            text.starts_with(kind.as_str()) && text.contains(&format!("explain {kind}.labels"))
        );
        let labels = explain(&format!("{kind}.labels")).expect("known");
        assert!(
            labels.contains(&format!("kind: {kind}\n")) && labels.contains("at most 16"),
            "{labels}"
        );
        let deeper = explain(&format!("{kind}.labels.tier")).err().map(|failure| failure.exit);
        assert_eq!(deeper, Some(Exit::NotFound));
    }
}

/// The fields that validation expects at a path of a spec: it names them when it meets one that it does not know.
fn expected(kind: Kind, path: &[(String, bool)]) -> Option<Vec<String>> {
    let wrong = path.iter().rev().fold(json!({"no_such_field": 1}), |inner, (step, is_list)| {
        json!({step.as_str(): if *is_list { json!([inner]) } else { inner }})
    });
    let name = ResourceName::parse("n").expect("good");
    let error = Spec::parse(kind, &name, wrong.to_string().as_bytes())
        .expect_err("an unknown field")
        .to_string();
    let (_, list) = error.split_once("`no_such_field`, expected ")?;
    let mut names: Vec<_> = list.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    names.sort();
    Some(names)
}

/// Compares a table and all below it; gives back how many tables there were.
fn compare(kind: Kind, place: &Place<'_>, path: &[(String, bool)]) -> usize {
    let mut known: Vec<_> = place.fields().iter().map(|field| field.name.clone()).collect();
    known.sort();
    // What may be a name as well tells nothing of its fields when it is neither.
    if !matches!(place.shapes.get(place.name), Some(Shape::NameOr(_))) {
        assert_eq!(Some(known), expected(kind, path), "{kind} {path:?}");
    }
    let mut tables = 1;
    for field in place.fields() {
        let (_, next) = place.step(kind, &field.name).expect("known");
        if !next.fields().is_empty() {
            let path = [path, &[(field.name.clone(), core(&field.kind).1)]].concat();
            let is_free = matches!(next.shapes.get(next.name), Some(Shape::NameOr(_)));
            tables += if is_free { 0 } else { compare(kind, &next, &path) };
        }
    }
    tables
}

#[test]
fn the_fields_are_those_that_validation_expects() {
    let shapes = shapes();
    let all: usize = Kind::ALL
        .iter()
        .map(|kind| {
            compare(*kind, &Place { shapes: &shapes, name: table_of(*kind), path: Vec::new() }, &[])
        })
        .sum();
    assert!(all > 25, "{all} tables");
}

#[test]
fn a_field_is_needed_when_a_spec_without_it_is_refused() {
    for kind in Kind::ALL {
        let shapes = shapes();
        let place = Place { shapes: &shapes, name: table_of(kind), path: Vec::new() };
        let least = least(kind);
        assert!(filled(kind).is_object(), "{kind}: {least}");
        for field in place.fields() {
            let mut without = least.clone();
            without.as_object_mut().expect("a table").remove(&field.name);
            let name = ResourceName::parse("n").expect("good");
            let error = Spec::parse(kind, &name, without.to_string().as_bytes())
                .err()
                .map(|e| e.to_string());
            let is_missed = error
                .is_some_and(|error| error.contains(&format!("missing field `{}`", field.name)));
            assert_eq!(field.is_needed, is_missed, "{kind}.{}", field.name);
        }
    }
}

#[test]
fn a_field_has_its_type_its_default_and_its_reason() {
    let text = explain("property.cache.default_ttl").expect("known");
    assert!(
        text.starts_with("property.cache.default_ttl\n\n")
            && text.contains("TYPE      duration, like 10s"),
        "{text}"
    );
    let text = explain("property.cache.slice").expect("known");
    assert!(
        text.contains("DEFAULT") && text.contains("aligned pieces") && text.contains("bytes, like"),
        "{text}"
    );
    let text = explain("property.hosts").expect("known");
    assert!(
        text.contains("(needed)") && text.contains("in lower case"),
        "As in Property is looked up: {text}"
    );
    let text = explain("cache_policies.query").expect("known");
    assert!(text.contains("keep = list of text") && text.contains("sorted"), "{text}");
    let text = explain("property.upstream.health").expect("known");
    assert!(text.contains("(absent)") && text.contains("interval"), "{text}");
    let text = explain("anycast_group").expect("known");
    assert!(
        text.contains("max_capacity_withdrawn_percent") && text.contains("of a hundred"),
        "{text}"
    );
    assert!(explain("property.origins.tls.server_name").is_ok());
    assert!(explain("pop.site.capacity_mbps").expect("known").contains("Mbit/s"));
}

#[test]
fn texts_fit_a_terminal() {
    let text = "word ".repeat(60);
    assert!(
        wrapped(&text).lines().all(|line| line.len() <= 80) && wrapped(&text).lines().count() == 4
    );
    assert_eq!((wrapped(""), wrapped("one  two")), (String::new(), "one two".to_owned()));
    assert!(short(&text).ends_with("word …") && short(&text).chars().count() <= 74);
    let all = Kind::ALL.map(|kind| explain(kind.as_str()).expect("known")).concat();
    assert!(!all.contains("::"), "no names of the source: {all}");
}

#[test]
fn what_is_not_there_gets_the_nearest_that_is() {
    for (asked, hint) in [
        ("propertty", "did you mean \"property\"?"),
        ("property.cache.defaul_ttl", "did you mean \"default_ttl\"?"),
        ("property.upstraem", "did you mean \"upstream\"?"),
        ("node.zzz", "there are pop, description"),
        ("property.hosts.x", "tidegate explain property.hosts"),
    ] {
        let failure = explain(asked).expect_err(asked);
        assert_eq!((failure.exit, failure.hint()), (Exit::NotFound, Some(hint)), "{asked}");
    }
}
