//! The documents that describe the relay, held against what it really answers and sends. Strictly: a field, a parameter
//! or a status that is not described fails, though a client would pass over it.

mod answers;
mod frames;
mod meta;

use std::collections::BTreeSet;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

/// A checker of values, made of the schemas of a document.
struct Schemas {
    document: Value,
    /// Where the schemas are: `/$defs` or `/components/schemas`.
    place: &'static str,
}

impl Schemas {
    /// Makes the schemas of a document refuse every field that they do not name.
    fn strict(mut document: Value, place: &'static str) -> Self {
        let schemas = document.pointer_mut(place).expect("schemas");
        let mut extended = BTreeSet::new();
        find_extended(schemas, &mut extended);
        for (name, schema) in schemas.as_object_mut().expect("schemas by name") {
            tighten(schema, &extended, extended.contains(name));
        }
        Self { document, place }
    }

    /// The checker of one schema.
    fn validator(&self, schema: &Value) -> Validator {
        let mut root = schema.as_object().expect("a schema").clone();
        let (first, rest) = self.place[1..]
            .split_once('/')
            .unwrap_or((&self.place[1..], ""));
        let schemas = self.document.pointer(self.place).expect("schemas").clone();
        let held = if rest.is_empty() {
            schemas
        } else {
            json!({ rest: schemas })
        };
        root.insert(first.to_owned(), held);
        jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .should_validate_formats(true)
            .build(&Value::Object(root))
            .unwrap_or_else(|error| panic!("no schema: {error}"))
    }

    /// The checker of the schema of that name.
    fn named(&self, name: &str) -> Validator {
        let reference = format!("#{}/{name}", self.place);
        self.validator(&json!({ "$ref": reference, "unevaluatedProperties": false }))
    }
}

/// Fails with everything that is wrong with a value.
fn assert_valid(validator: &Validator, value: &Value, what: &str) {
    let errors: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{what}: {errors:#?}\n{value:#}");
}

/// The schemas that others extend by `allOf`: they must not refuse what those add.
fn find_extended(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for base in members
                .get("allOf")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                found.extend(name_of(base));
            }
            members
                .values()
                .for_each(|member| find_extended(member, found));
        }
        Value::Array(members) => members
            .iter()
            .for_each(|member| find_extended(member, found)),
        _ => {}
    }
}

fn name_of(reference: &Value) -> Option<String> {
    let (_, name) = reference["$ref"].as_str()?.rsplit_once('/')?;
    Some(name.to_owned())
}

fn tighten(schema: &mut Value, extended: &BTreeSet<String>, is_extended: bool) {
    let names_an_extended_one = name_of(schema).is_some_and(|name| extended.contains(&name));
    match schema {
        Value::Object(members) => {
            let is_open =
                members.contains_key("properties") && !members.contains_key("additionalProperties");
            if (is_open && !is_extended) || names_an_extended_one {
                members.insert("unevaluatedProperties".to_owned(), Value::Bool(false));
            }
            for (name, member) in members {
                if name == "properties" {
                    let properties: &mut Map<String, Value> =
                        member.as_object_mut().expect("properties");
                    properties
                        .values_mut()
                        .for_each(|property| tighten(property, extended, false));
                } else if name != "allOf" {
                    tighten(member, extended, false);
                }
            }
        }
        Value::Array(members) => members
            .iter_mut()
            .for_each(|member| tighten(member, extended, false)),
        _ => {}
    }
}
