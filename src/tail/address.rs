//! Where the relay is, and what is asked of it.

use reqwest::Url;

use super::{TailError, TailOptions};

/// The relay's addresses for one `tail`.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// Ends with a slash.
    base: Url,
    /// Everything but `since` and `snapshot`.
    query: Vec<(&'static str, String)>,
}

impl Address {
    /// Checks the options that end up in an address.
    pub(super) fn new(options: &TailOptions) -> Result<Self, TailError> {
        let lists = [
            ("topics", &options.topics),
            ("operation_id", &options.operation_id),
            ("owner", &options.owner),
            ("operation_type", &options.operation_type),
            ("status", &options.status),
            ("source", &options.source),
        ];
        let mut query = Vec::new();
        for (name, values) in lists {
            for value in values {
                if value.is_empty() || value.contains(',') {
                    return Err(TailError::Option {
                        option: name,
                        expected: "values that are not empty and have no comma in them",
                    });
                }
            }
            if !values.is_empty() {
                query.push((name, values.join(",")));
            }
        }
        if let Some(mode) = options.mode {
            query.push(("mode", mode.name().to_owned()));
        }
        Ok(Self {
            base: base(&options.url)?,
            query,
        })
    }

    /// The address to follow, from a cursor on or from now on.
    pub(super) fn socket(&self, since: Option<&str>, snapshot: bool) -> Url {
        let mut url = self.path("ws");
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        url.set_scheme(scheme)
            .expect("http schemes and WebSocket schemes can stand for each other");
        let last = match since {
            Some(cursor) => ("since", cursor),
            None => ("snapshot", if snapshot { "true" } else { "false" }),
        };
        url.query_pairs_mut()
            .extend_pairs(&self.query)
            .append_pair(last.0, last.1);
        url
    }

    /// The address of one operation.
    pub(super) fn operation(&self, id: &str) -> Url {
        let mut url = self.path("api/operations");
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(id);
        }
        url
    }

    /// The relay itself, for people.
    pub(super) fn relay(&self) -> &Url {
        &self.base
    }

    fn path(&self, path: &str) -> Url {
        self.base
            .join(path)
            .expect("a relative path can follow any http address")
    }
}

/// Reads the address of a relay, and lets it end with a slash.
///
/// # Errors
/// Where it cannot be one.
pub(crate) fn base(text: &str) -> Result<Url, TailError> {
    let wrong = |expected| TailError::Url {
        url: text.to_owned(),
        expected,
    };
    let http = match text.split_once("://") {
        Some(("ws", rest)) => format!("http://{rest}"),
        Some(("wss", rest)) => format!("https://{rest}"),
        _ => text.to_owned(),
    };
    let mut url: Url = http.parse().map_err(|_| wrong("http://host:port"))?;
    match url.scheme() {
        "http" => {}
        "https" => {
            return Err(wrong(
                "http://host:port, since this program speaks no TLS to a relay",
            ));
        }
        _ => return Err(wrong("http://host:port")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(TailError::Url {
            url: "(not repeated)".to_owned(),
            expected: "no user name or password in it",
        });
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong(
            "an address without ? or #; filters are options of their own",
        ));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tail::Mode;

    fn options(url: &str) -> TailOptions {
        TailOptions {
            url: url.to_owned(),
            ..TailOptions::default()
        }
    }

    fn socket(options: &TailOptions, since: Option<&str>) -> String {
        let address = Address::new(options).expect("a valid address");
        address.socket(since, true).to_string()
    }

    #[test]
    fn filters_are_lists_in_the_query_and_values_are_encoded() {
        let options = TailOptions {
            owner: vec!["alice & bob".to_owned(), "carol".to_owned()],
            mode: Some(Mode::Every),
            ..options("http://localhost:8080")
        };
        assert_eq!(
            socket(&options, None),
            "ws://localhost:8080/ws?owner=alice+%26+bob%2Ccarol&mode=every&snapshot=true"
        );
    }

    #[test]
    fn a_cursor_takes_the_place_of_a_snapshot() {
        assert_eq!(
            socket(&options("ws://[::1]:1"), Some("c")),
            "ws://[::1]:1/ws?since=c"
        );
    }

    #[test]
    fn a_relay_behind_a_path_is_reached_there() {
        let behind = options("http://proxy/sync");
        assert_eq!(socket(&behind, Some("c")), "ws://proxy/sync/ws?since=c");
        let address = Address::new(&behind).expect("a valid address");
        assert_eq!(
            address.operation("a/b").as_str(),
            "http://proxy/sync/api/operations/a%2Fb"
        );
    }

    #[test]
    fn an_address_that_can_not_be_meant_is_refused_with_what_was_expected() {
        for url in [
            "localhost:8080",
            "",
            "ftp://host",
            "https://host",
            "wss://host",
            "http://",
            "http://host?x=1",
        ] {
            let error = Address::new(&options(url))
                .expect_err("refused")
                .to_string();
            assert!(error.contains("expected"), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_in_the_address_is_refused_and_not_repeated() {
        let error = Address::new(&options("http://me:secret@host")).expect_err("refused");
        assert!(!format!("{error} {error:?}").contains("secret"));
    }

    #[test]
    fn a_value_with_a_comma_is_refused_since_it_would_be_two_values() {
        let options = TailOptions {
            owner: vec!["Doe, John".to_owned()],
            ..options("http://host")
        };
        let error = Address::new(&options).expect_err("refused").to_string();
        assert!(error.starts_with("owner: expected"), "{error}");
    }
}
