//! What describes the relay to programs: OpenAPI for what is asked for, AsyncAPI for the sockets, JSON Schema for what
//! they carry. Kept by hand in `docs/api/`, since rows are what PostgreSQL makes of them and no Rust type stands for
//! them; tests hold them against what a relay really answers and sends.
//!
//! Each is served whole: the schemas are written down once, in `schema.json`, and put into the other two here.

use std::sync::LazyLock;

use serde_json::{Map, Value};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::HeaderMap;
use warp::reply::Response;

use super::files::File;
use super::problem::Problem;

const SCHEMA: &str = include_str!("../../docs/api/schema.json");
const OPENAPI: &str = include_str!("../../docs/api/openapi.json");
const ASYNCAPI: &str = include_str!("../../docs/api/asyncapi.json");

static SCHEMA_FILE: LazyLock<File> =
    LazyLock::new(|| File::new("application/schema+json", SCHEMA.into()));
static OPENAPI_FILE: LazyLock<File> =
    LazyLock::new(|| File::new("application/json", whole(OPENAPI).into()));
static ASYNCAPI_FILE: LazyLock<File> =
    LazyLock::new(|| File::new("application/json", whole(ASYNCAPI).into()));

/// The paths of the documents.
pub(super) fn routes() -> BoxedFilter<(Response,)> {
    let openapi = warp::path!("api" / "openapi.json").map(|| &*OPENAPI_FILE);
    let asyncapi = warp::path!("api" / "asyncapi.json").map(|| &*ASYNCAPI_FILE);
    let schema = warp::path!("api" / "schema.json").map(|| &*SCHEMA_FILE);
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    openapi
        .or(asyncapi)
        .unify()
        .or(schema)
        .unify()
        .and(warp::header::headers_cloned())
        .and(query)
        .map(|file: &File, headers: HeaderMap, query: String| {
            match form_urlencoded::parse(query.as_bytes()).next() {
                None => file.answer(&headers, "no-cache"),
                Some((name, _)) => {
                    Problem::invalid(name, "unknown parameter; expected none here").into_response()
                }
            }
        })
        .boxed()
}

/// A document with the version of this program and the schemas in it.
fn whole(document: &str) -> String {
    let mut document: Value = serde_json::from_str(document).expect("docs/api is JSON");
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    document["components"]["schemas"] = Value::Object(schemas());
    document.to_string()
}

/// The definitions of the schema, with their references as they are elsewhere.
fn schemas() -> Map<String, Value> {
    let text = SCHEMA.replace("\"#/$defs/", "\"#/components/schemas/");
    let schema: Value = serde_json::from_str(&text).expect("docs/api is JSON");
    match schema {
        Value::Object(mut schema) => match schema.remove("$defs") {
            Some(Value::Object(definitions)) => definitions,
            _ => unreachable!("the schema has definitions"),
        },
        _ => unreachable!("the schema is an object"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reference of a document.
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    match member.as_str() {
                        Some(reference) if name == "$ref" => found.push(reference),
                        _ => references(member, found),
                    }
                }
            }
            Value::Array(members) => members.iter().for_each(|member| references(member, found)),
            _ => {}
        }
    }

    #[test]
    fn each_document_is_whole_and_every_reference_in_it_leads_somewhere() {
        for document in [SCHEMA.to_owned(), whole(OPENAPI), whole(ASYNCAPI)] {
            let document: Value = serde_json::from_str(&document).expect("JSON");
            let mut found = Vec::new();
            references(&document, &mut found);
            assert!(found.len() > 20);
            for reference in found {
                let pointer = reference
                    .strip_prefix('#')
                    .expect("a place in the document");
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
        }
    }

    #[test]
    fn the_documents_carry_the_version_of_the_program() {
        let document: Value = serde_json::from_str(&whole(OPENAPI)).expect("JSON");
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }
}
