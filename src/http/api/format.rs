//! In which form a list is wanted: by `format`, else by the `Accept` header.

use warp::http::StatusCode;

use super::query::{Query, unexpected};
use crate::http::problem::Problem;

/// The form of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One page.
    Json,
    /// All of it, a JSON object a line.
    Ndjson,
    /// All of it as a table.
    Csv,
}

/// The media types of each form; the first is the one that is sent.
const MEDIA_TYPES: [(Format, &[&str]); 3] = [
    (Format::Json, &["application/json"]),
    (
        Format::Ndjson,
        &[
            "application/x-ndjson",
            "application/ndjson",
            "application/jsonl",
        ],
    ),
    (Format::Csv, &["text/csv"]),
];

impl Format {
    /// The form that a request asks for.
    ///
    /// # Errors
    /// Where `format` names none, or there is no `format` and the `Accept` header wants none of ours.
    pub(super) fn of(query: &Query, accept: Option<&str>) -> Result<Self, Problem> {
        match query.value("format") {
            None => Self::preferred(accept, &MEDIA_TYPES),
            Some("json") => Ok(Self::Json),
            Some("ndjson") => Ok(Self::Ndjson),
            Some("csv") => Ok(Self::Csv),
            Some(value) => Err(unexpected("format", value, "one of json, ndjson, csv")),
        }
    }

    /// The media type.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }

    /// The ending of a file.
    pub(super) fn ending(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }

    /// For what has no other form than JSON.
    ///
    /// # Errors
    /// Where the `Accept` header does not want it.
    pub(super) fn json_only(accept: Option<&str>) -> Result<(), Problem> {
        Self::preferred(accept, &MEDIA_TYPES[..1]).map(drop)
    }

    /// The form that an `Accept` header likes best: by its weights, then by whether it is named rather than covered by
    /// a wildcard, then JSON. A header without anything that makes sense counts as none.
    fn preferred(accept: Option<&str>, offered: &[(Self, &[&str])]) -> Result<Self, Problem> {
        let ranges: Vec<(u16, &str)> = accept
            .unwrap_or_default()
            .split(',')
            .filter(|range| !range.trim().is_empty())
            .filter_map(|range| Some((weight(range)?, range)))
            .collect();
        if ranges.is_empty() {
            return Ok(Self::Json);
        }
        let mut best = None;
        for (format, types) in offered {
            let rank = ranges
                .iter()
                .filter_map(|(weight, range)| Some((*weight, specificity(range, types)?)))
                .max_by_key(|(weight, specificity)| (*specificity, *weight))
                .unwrap_or((0, 0));
            if rank.0 > 0 && best.is_none_or(|(best, _)| rank > best) {
                best = Some((rank, *format));
            }
        }
        best.map(|(_, format)| format).ok_or_else(|| {
            let types: Vec<&str> = offered
                .iter()
                .flat_map(|(_, types)| *types)
                .copied()
                .collect();
            let detail = format!("accept: expected one of {}", types.join(", "));
            Problem::new(StatusCode::NOT_ACCEPTABLE, detail).about("accept")
        })
    }
}

/// The weight of a media range in thousandths: 1000 unless it says otherwise; `None` if it says nonsense.
fn weight(range: &str) -> Option<u16> {
    let Some(weight) = range
        .split(';')
        .skip(1)
        .find_map(|parameter| parameter.trim().strip_prefix("q="))
    else {
        return Some(1000);
    };
    let weight: f32 = weight.parse().ok()?;
    (0.0..=1.0)
        .contains(&weight)
        .then_some((weight * 1000.0) as u16)
}

/// How closely a media range names one of these types; `None` if it does not.
fn specificity(range: &str, types: &[&str]) -> Option<u8> {
    let range = range.split(';').next()?.trim().to_ascii_lowercase();
    let is_wildcard = |kind: &&str| {
        range
            .strip_suffix("/*")
            .is_some_and(|major| kind.split('/').next() == Some(major))
    };
    if types.contains(&&*range) {
        Some(3)
    } else if types.iter().any(is_wildcard) {
        Some(2)
    } else {
        (range == "*/*").then_some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_header_chooses_the_form() {
        for (accept, format) in [
            ("*/*", Format::Json),
            ("", Format::Json),
            ("text/csv", Format::Csv),
            ("Text/CSV; charset=utf-8", Format::Csv),
            ("text/csv, */*", Format::Csv),
            ("text/csv;q=0.5, application/json", Format::Json),
            ("application/json;q=0.5, text/csv", Format::Csv),
            ("application/x-ndjson", Format::Ndjson),
            ("application/ndjson, */*;q=0.1", Format::Ndjson),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Format::Json,
            ),
            ("text/html, application/*;q=0.1", Format::Json),
            ("text/csv;q=nonsense", Format::Json),
        ] {
            let preferred = Format::preferred(Some(accept), &MEDIA_TYPES);
            assert_eq!(preferred, Ok(format), "{accept}");
        }
        assert_eq!(Format::preferred(None, &MEDIA_TYPES), Ok(Format::Json));
    }

    #[test]
    fn who_wants_none_of_our_forms_is_told_which_there_are() {
        for accept in ["text/html", "text/csv;q=0", "image/*, application/xml"] {
            let refused = Format::preferred(Some(accept), &MEDIA_TYPES);
            assert!(refused.is_err(), "{accept}");
        }
        assert!(Format::json_only(Some("text/csv")).is_err());
        assert!(Format::json_only(Some("text/*, application/json;q=0.1")).is_ok());
    }
}
