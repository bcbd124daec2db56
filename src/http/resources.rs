//! What is served at which path, with which methods: the one list of it. The surface lets nothing through that is not
//! here, and `docs/api/openapi.json` describes each of these and no other.

/// The methods of everything that is read once.
pub(super) const READ: &str = "GET, HEAD, OPTIONS";
/// A stream has no HEAD: there is nothing to be said of one without its content.
pub(super) const STREAM: &str = "GET, OPTIONS";

/// Path templates and methods. Everything below their first parts that is not here does not exist; any other path is a
/// file or a view of the dashboard.
pub(super) const RESOURCES: [(&str, &str); 15] = [
    ("/api/operations", READ),
    ("/api/operations/{id}", READ),
    ("/api/operations/{id}/errors", READ),
    ("/api/operations/{id}/events", READ),
    ("/api/connections", READ),
    ("/api/health", READ),
    ("/api/snapshots", READ),
    ("/api/statistics", READ),
    ("/api/openapi.json", READ),
    ("/api/asyncapi.json", READ),
    ("/api/schema.json", READ),
    ("/livez", READ),
    ("/readyz", READ),
    ("/events", STREAM),
    ("/ws", STREAM),
];

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One of [`RESOURCES`], with its methods.
    Resource(&'static str),
    /// None of them, though its first part is theirs.
    Nothing,
    /// A file of the dashboard or one of its views.
    File,
}

impl Kind {
    /// What a path is.
    pub(super) fn of(path: &str) -> Self {
        let found = RESOURCES
            .into_iter()
            .find(|(template, _)| matches(template, path));
        match found {
            Some((_, methods)) => Self::Resource(methods),
            None if is_reserved(path) => Self::Nothing,
            None => Self::File,
        }
    }

    /// The methods that it has.
    pub(super) fn methods(self) -> &'static str {
        match self {
            Self::Resource(methods) => methods,
            Self::Nothing | Self::File => READ,
        }
    }
}

fn matches(template: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    let fits = |wanted: &str| {
        parts
            .next()
            .is_some_and(|part| part == wanted || wanted == "{id}" && !part.is_empty())
    };
    template.split('/').all(fits) && parts.next().is_none()
}

fn is_reserved(path: &str) -> bool {
    let first = |path: &str| {
        let path = path.trim_start_matches('/');
        path.split('/').next().unwrap_or("").to_owned()
    };
    let wanted = first(path);
    RESOURCES
        .iter()
        .any(|(template, _)| first(template) == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_resource_a_file_or_nothing() {
        for (path, kind) in [
            ("/api/operations", Kind::Resource(READ)),
            ("/api/operations/7", Kind::Resource(READ)),
            ("/api/operations/7/events", Kind::Resource(READ)),
            ("/ws", Kind::Resource(STREAM)),
            ("/events", Kind::Resource(STREAM)),
            ("/api", Kind::Nothing),
            ("/api/operations/", Kind::Nothing),
            ("/api/operations/7/", Kind::Nothing),
            ("/api/nothing", Kind::Nothing),
            ("//api/health", Kind::Nothing),
            ("/ws/1", Kind::Nothing),
            ("/", Kind::File),
            ("", Kind::File),
            ("*", Kind::File),
            ("/bellwether.js", Kind::File),
            ("/operations/7", Kind::File),
        ] {
            assert_eq!(Kind::of(path), kind, "{path}");
        }
    }

    #[test]
    fn the_openapi_document_describes_every_resource_and_no_other() {
        let document: serde_json::Value =
            serde_json::from_str(include_str!("../../docs/api/openapi.json")).expect("JSON");
        let described: Vec<&String> = document["paths"]
            .as_object()
            .expect("paths")
            .keys()
            .collect();
        let mut served: Vec<&str> = RESOURCES.iter().map(|(template, _)| *template).collect();
        served.sort_unstable();
        let mut described: Vec<&str> = described.into_iter().map(String::as_str).collect();
        described.sort_unstable();
        assert_eq!(served, described);
    }
}
