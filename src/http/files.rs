//! Files that are kept in memory: compressed once, asked for again by their ETag.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use warp::http::header::{self, HeaderMap, HeaderValue};
use warp::http::{HeaderName, StatusCode};
use warp::reply::Response;

use super::encoding::{self, Encoding};

/// The best first.
const OFFERED: [Encoding; 2] = [Encoding::Brotli, Encoding::Gzip];

/// A file, as it is and compressed.
#[derive(Debug)]
pub(super) struct File {
    tag: String,
    content_type: &'static str,
    plain: Bytes,
    brotli: Option<Bytes>,
    gzip: Option<Bytes>,
}

impl File {
    /// Compresses a file. Takes a while: a hundred milliseconds for a large one.
    pub(super) fn new(content_type: &'static str, plain: Bytes) -> Self {
        let compressed = |encoding| {
            let is_worth_it = encoding::is_worth_it(content_type, plain.len());
            is_worth_it
                .then(|| encoding::compressed_well(&plain, encoding))
                .flatten()
        };
        let hash = Sha256::digest(&plain);
        Self {
            tag: hash[..8].iter().map(|byte| format!("{byte:02x}")).collect(),
            content_type,
            brotli: compressed(Encoding::Brotli),
            gzip: compressed(Encoding::Gzip),
            plain,
        }
    }

    /// The file, or that the client has it. `caching` is the `Cache-Control`.
    pub(super) fn answer(&self, asked: &HeaderMap, caching: &'static str) -> Response {
        let chosen = Encoding::of(asked, &OFFERED).and_then(|encoding| {
            let body = match encoding {
                Encoding::Brotli => &self.brotli,
                Encoding::Gzip => &self.gzip,
            };
            Some((encoding, body.as_ref()?))
        });
        // Each encoding is another representation, and has a tag of its own.
        let (tag, body) = match chosen {
            Some((encoding, body)) => (format!("\"{}-{}\"", self.tag, encoding.name()), body),
            None => (format!("\"{}\"", self.tag), &self.plain),
        };
        let is_known = asked
            .get_all(header::IF_NONE_MATCH)
            .into_iter()
            .filter_map(|known| known.to_str().ok())
            .flat_map(|known| known.split(','))
            .map(str::trim)
            .any(|known| known == "*" || known.trim_start_matches("W/") == tag);
        let mut response = if is_known {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            Response::new(body.clone().into())
        };
        let headers = response.headers_mut();
        let mut set = |name: HeaderName, value| {
            headers.insert(name, HeaderValue::from_static(value));
        };
        set(header::CACHE_CONTROL, caching);
        set(header::CONTENT_TYPE, self.content_type);
        if self.gzip.is_some() || self.brotli.is_some() {
            set(header::VARY, "Accept-Encoding");
        }
        if let Some((encoding, _)) = chosen {
            set(header::CONTENT_ENCODING, encoding.name());
        }
        let tag = HeaderValue::try_from(tag).expect("a tag is hexadecimal digits");
        headers.insert(header::ETAG, tag);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let fields = fields.iter().cloned();
        fields
            .map(|(name, value)| (name, value.parse().expect("a value")))
            .collect()
    }

    #[test]
    fn a_file_that_the_client_has_is_not_sent_again_but_one_in_another_encoding_is() {
        let file = File::new("text/css", Bytes::from("a { color: red }\n".repeat(200)));
        let gzip = (header::ACCEPT_ENCODING, "gzip");
        let answer = file.answer(&asking(std::slice::from_ref(&gzip)), "no-cache");
        assert_eq!(answer.headers()[header::CONTENT_ENCODING], "gzip");
        let tag = answer.headers()[header::ETAG].to_str().expect("text");
        let plain = file.answer(&HeaderMap::new(), "no-cache");
        assert_ne!(plain.headers()[header::ETAG], tag);
        for known in [tag, "*", &format!("\"x\", W/{tag}")] {
            let again = [gzip.clone(), (header::IF_NONE_MATCH, known)];
            let again = file.answer(&asking(&again), "no-cache");
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{known}");
            assert_eq!(again.headers()[header::ETAG], tag);
            assert_eq!(again.headers()[header::VARY], "Accept-Encoding");
        }
        let other = file.answer(&asking(&[(header::IF_NONE_MATCH, tag)]), "no-cache");
        assert_eq!(other.status(), StatusCode::OK);
    }
}
