//! `/v1/openapi.json`: the API as an OpenAPI 3.1 document.
//!
//! It is made of one table of calls and one of bodies. A test holds the first against the router's own lines, both ways:
//! no route without its line, no line without its route; another holds the bodies against what is really sent.

mod calls;
mod bodies;

use serde_json::{Map, Value, json};

use self::{
    bodies::{BODIES, Field},
    calls::{CALLS, Call},
};

/// `GET /v1/openapi.json`
pub(super) async fn document() -> axum::Json<Value> {
    axum::Json(build())
}

fn build() -> Value {
    let mut paths = Map::new();
    for call in CALLS {
        let path = paths.entry(call.path).or_insert_with(|| json!({}));
        path[call.method] = operation(call);
    }
    let schemas: Map<String, Value> =
        BODIES.iter().map(|(name, fields)| ((*name).to_owned(), schema(fields))).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidegate control plane",
            "version": "1",
            "summary": "What every PoP shall do, and how far it is",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API token; its scopes say what it may do",
                },
            },
            "schemas": schemas,
        },
    })
}

fn operation(call: &Call) -> Value {
    let mut parameters: Vec<Value> = in_braces(call.path)
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    for (name, kind) in call.query {
        parameters.push(json!({"name": name, "in": "query", "schema": {"type": kind}}));
    }
    let is_change = call.method != "get";
    if is_change {
        for (name, what) in HEADERS {
            parameters.push(json!({
                "name": name, "in": "header", "description": what, "schema": {"type": "string"}
            }));
        }
    }
    let status = call.status.to_string();
    let answer = match call.answer {
        "" => json!({"description": "done"}),
        kind if kind.contains('/') => json!({"description": "done", "content": {kind: {}}}),
        name => json!({
            "description": "done",
            "content": {"application/json": {"schema": of_kind(name)}},
        }),
    };
    let problem = json!({
        "description": "what went wrong",
        "content": {"application/problem+json": {"schema": reference("Problem")}},
    });
    let mut operation = json!({
        "operationId": operation_id(call),
        "summary": call.summary,
        "description": format!("Scope: {}", call.scope),
        "parameters": parameters,
        "responses": {status: answer, "default": problem},
    });
    if !call.body.is_empty() {
        operation["requestBody"] = json!({
            "required": true,
            "content": {"application/json": {"schema": of_kind(call.body)}},
        });
    }
    if call.scope == "none" {
        operation["security"] = json!([]);
    }
    operation
}

/// A body's schema. `Items of X` is a list of X.
fn reference(name: &str) -> Value {
    match name.strip_prefix("Items of ") {
        Some(item) => json!({
            "type": "object",
            "required": ["items"],
            "properties": {"items": {"type": "array", "items": reference(item)}},
        }),
        None => json!({"$ref": format!("#/components/schemas/{name}")}),
    }
}

fn schema(fields: &[Field]) -> Value {
    let required: Vec<_> =
        fields.iter().filter(|field| !field.name.ends_with('?')).map(|field| field.name).collect();
    let property = |field: &Field| {
        let name = field.name.trim_end_matches('?').to_owned();
        let value = match (field.kind.strip_prefix('['), field.kind) {
            (Some(kind), _) => {
                json!({"type": "array", "items": of_kind(kind.trim_end_matches(']'))})
            }
            (None, kind) => of_kind(kind),
        };
        (name, value)
    };
    let properties: Map<String, Value> = fields.iter().map(property).collect();
    json!({"type": "object", "required": required, "properties": properties})
}

fn of_kind(kind: &str) -> Value {
    match kind {
        "string" | "integer" | "number" | "boolean" | "object" => json!({"type": kind}),
        "any" => json!({}),
        name => reference(name),
    }
}

fn operation_id(call: &Call) -> String {
    let words = call.path.split('/').filter(|word| !word.is_empty() && *word != "v1");
    let words = words.map(|word| word.trim_matches(['{', '}']).replace(['-', '.'], "_"));
    let words: Vec<_> = std::iter::once(call.method.to_owned()).chain(words).collect();
    words.join("_")
}

fn in_braces(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|word| word.strip_prefix('{')?.strip_suffix('}'))
}

/// What may stand beside every change.
const HEADERS: [(&str, &str); 2] = [
    ("Tidegate-Reason", "Why; stands in the audit log"),
    ("Tidegate-Approval", "The approval of a second person, for what is dangerous"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The calls that the router's own lines make: method and path.
    fn routed() -> BTreeSet<(String, String)> {
        let source = include_str!("../mod.rs");
        let mut found = BTreeSet::new();
        for route in source.split(".route(").skip(1) {
            let path = route.split('"').nth(1).expect("a path in quotes");
            // Up to the end of the call: where the brackets that opened are closed.
            let mut depth = 1;
            let end = route.char_indices().find(|(_, letter)| {
                depth += match letter {
                    '(' => 1,
                    ')' => -1,
                    _ => 0,
                };
                depth == 0
            });
            let call = &route[..end.expect("closed").0];
            for method in ["get", "post", "put", "delete", "patch"] {
                if call.contains(&format!(" {method}(")) || call.contains(&format!(".{method}(")) {
                    found.insert((method.to_owned(), path.to_owned()));
                }
            }
        }
        found
    }

    #[test]
    fn every_route_is_documented_and_every_documented_route_is_there() {
        let documented: BTreeSet<_> =
            CALLS.iter().map(|call| (call.method.to_owned(), call.path.to_owned())).collect();
        let routed = routed();
        assert!(routed.len() > 20, "the router's lines are found");
        let missing: Vec<_> = routed.difference(&documented).collect();
        assert!(missing.is_empty(), "not in openapi/calls.rs: {missing:?}");
        let surplus: Vec<_> = documented.difference(&routed).collect();
        assert!(surplus.is_empty(), "in openapi/calls.rs, but no route: {surplus:?}");
        assert_eq!(documented.len(), CALLS.len(), "no call stands there twice");
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_id_is_one_of_a_kind() {
        let document = build();
        let text = document.to_string();
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().expect("a name");
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
        let ids: BTreeSet<_> = CALLS.iter().map(operation_id).collect();
        assert_eq!(ids.len(), CALLS.len());
        for call in CALLS {
            let scope = call.scope;
            let known = crate::access::Verb::ALL.iter().any(|(_, name)| *name == scope);
            assert!(known || ["none", "any"].contains(&scope), "{scope}");
        }
    }
}
