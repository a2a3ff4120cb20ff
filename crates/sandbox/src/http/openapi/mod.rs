//! `GET /openapi.json`: the interface in the words of OpenAPI 3.1, written from the table of routes and the limits of
//! the service that runs.

mod answers;
mod operations;
mod requests;

use serde_json::{Map, Value, json};

use super::route::{Operation, ROUTES};
use crate::Options;

/// What of a running service shows in its interface.
pub(super) struct Offer<'a> {
    /// Its limits.
    pub(super) limits: &'a Options,
    /// The images that can be asked for.
    pub(super) images: Vec<String>,
    /// Whether clients must show a token.
    pub(super) token: bool,
}

/// The whole document.
pub(super) fn document(offer: &Offer<'_>) -> Value {
    let mut paths = Map::new();
    for route in &ROUTES {
        let methods = paths.entry(route.path).or_insert_with(|| json!({}));
        let method = route.method.as_str().to_ascii_lowercase();
        methods[method] = operations::describe(route.operation, offer.token);
    }
    let mut schemas = requests::schemas(offer);
    schemas.extend(answers::schemas());
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "virtmark sandboxes",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Virtual machines that are made, used and left over HTTP. Errors are JSON with a stable \
                code. A command that fails or runs out of its time is an answer, not an error.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": [
            { "name": "sandboxes", "description": "Machines, from creation to their end." },
            { "name": "snapshots", "description": "Kept states of sandboxes." },
            { "name": "files", "description": "Files of a sandbox's guest." },
            { "name": "service", "description": "The service itself." },
        ],
        "paths": paths,
        "components": { "schemas": schemas },
    });
    if offer.token {
        document["components"]["securitySchemes"] = json!({
            "bearer": { "type": "http", "scheme": "bearer", "description": "The token that the operator chose." },
        });
        document["security"] = json!([{ "bearer": [] }]);
    }
    document
}

/// A reference to a schema.
fn schema(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Whether anybody may ask this without a token.
pub(super) fn is_open(operation: Operation) -> bool {
    operation == Operation::Health
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documented(token: bool) -> Value {
        document(&Offer { limits: &Options::new("/nowhere"), images: vec!["tiny".into()], token })
    }

    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            _ => {}
        }
    }

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let document = documented(true);
        let described: Vec<String> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                methods
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(move |method| format!("{} {path}", method.to_uppercase()))
            })
            .collect();
        assert_eq!(described.len(), ROUTES.len());
        for route in &ROUTES {
            assert!(described.contains(&format!("{} {}", route.method, route.path)), "{}", route.path);
        }
    }

    #[test]
    fn references_lead_somewhere_and_every_schema_is_used() {
        let document = documented(true);
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in &found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for name in document["components"]["schemas"].as_object().unwrap().keys() {
            assert!(
                found.iter().any(|reference| reference.ends_with(&format!("/{name}"))),
                "{name} is not used"
            );
        }
    }

    #[test]
    fn the_token_shows_only_where_there_is_one() {
        let closed = documented(true);
        assert_eq!(closed["security"][0]["bearer"], json!([]));
        assert_eq!(closed["paths"]["/healthz"]["get"]["security"], json!([]));
        assert!(closed["paths"]["/create"]["post"]["responses"]["401"].is_object());
        let open = documented(false);
        assert!(open.get("security").is_none());
        assert!(open["paths"]["/create"]["post"]["responses"].get("401").is_none());
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let document = documented(false);
        let mut names: Vec<_> = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|methods| methods.as_object().unwrap().values())
            .map(|operation| operation["operationId"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), ROUTES.len());
    }
}
