//! Compressed answers: which encoding a client takes, and what is worth it.
//!
//! Files are compressed once, well, and kept. What is made for a request is compressed fast, with gzip: it is sent once.
//! Streams of events are never compressed: an event would wait for the block to fill.

use std::io::Write;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use warp::http::HeaderMap;
use warp::http::header::ACCEPT_ENCODING;

/// What is shorter is not worth it.
const LEAST_BYTES: usize = 1_024;
/// What is longer is compressed on a thread of its own, so that no other answer waits for it.
const MOST_BYTES_IN_PLACE: usize = 64 * 1024;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Brotli
    Brotli,
    /// gzip
    Gzip,
}

impl Encoding {
    /// The token in `Content-Encoding`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The one that the client likes best, of two equals the first offered. `None`: as it is.
    pub(super) fn of(headers: &HeaderMap, offered: &[Self]) -> Option<Self> {
        let accepted = headers
            .get_all(ACCEPT_ENCODING)
            .into_iter()
            .filter_map(|value| value.to_str().ok());
        let ranges: Vec<(String, u16)> = accepted
            .flat_map(|value| value.split(','))
            .filter_map(range)
            .collect();
        let weight = |name: &str| {
            let named = ranges.iter().find(|(range, _)| range == name);
            let any = ranges.iter().find(|(range, _)| range == "*");
            named.or(any).map(|(_, weight)| *weight)
        };
        let as_it_is = ranges
            .iter()
            .find(|(range, _)| range == "identity")
            .map_or(0, |(_, weight)| *weight);
        let best = offered
            .iter()
            .map(|encoding| (*encoding, weight(encoding.name()).unwrap_or(0)))
            .reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.filter(|(_, weight)| *weight > 0 && *weight >= as_it_is)
            .map(|(encoding, _)| encoding)
    }
}

/// A coding and its weight in thousandths.
fn range(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';');
    let name = parts.next()?.trim().to_ascii_lowercase();
    let weight = match parts.find_map(|part| part.trim().strip_prefix("q=")) {
        None => 1.0,
        Some(weight) => weight.trim().parse::<f32>().ok()?,
    };
    let is_sane = !name.is_empty() && (0.0..=1.0).contains(&weight);
    is_sane.then_some((name, (weight * 1000.0) as u16))
}

/// Whether a body of this type and length is worth compressing.
pub(super) fn is_worth_it(content_type: &str, length: usize) -> bool {
    let kind = content_type.split(';').next().unwrap_or("").trim();
    let is_text = kind.starts_with("text/")
        || kind.ends_with("json")
        || matches!(kind, "image/svg+xml" | "application/xml");
    is_text && kind != "text/event-stream" && length >= LEAST_BYTES
}

/// A body compressed for one answer.
pub(super) async fn gzipped(body: Bytes) -> Bytes {
    let compress = |body: &[u8]| {
        let mut stream = GzipStream::new();
        let mut whole = stream.piece(body);
        whole.extend(stream.end());
        Bytes::from(whole)
    };
    if body.len() <= MOST_BYTES_IN_PLACE {
        return compress(&body);
    }
    tokio::task::spawn_blocking(move || compress(&body))
        .await
        .expect("compressing in memory does not fail")
}

/// A body that is compressed piece by piece, each as soon as it is there.
#[derive(Debug)]
pub(super) struct GzipStream(GzEncoder<Vec<u8>>);

impl GzipStream {
    /// A new body.
    pub(super) fn new() -> Self {
        Self(GzEncoder::new(Vec::new(), Compression::fast()))
    }

    /// The next piece; it can be read to its end without the one after it.
    pub(super) fn piece(&mut self, plain: &[u8]) -> Vec<u8> {
        let written = self.0.write_all(plain).and_then(|()| self.0.flush());
        written.expect("memory can be written to");
        std::mem::take(self.0.get_mut())
    }

    /// What ends the body.
    pub(super) fn end(&mut self) -> Vec<u8> {
        self.0.try_finish().expect("memory can be written to");
        std::mem::take(self.0.get_mut())
    }
}

/// A file compressed once for all. `None` where that makes it no smaller.
pub(super) fn compressed_well(plain: &[u8], encoding: Encoding) -> Option<Bytes> {
    let mut out = Vec::new();
    let written = match encoding {
        Encoding::Gzip => {
            let mut encoder = GzEncoder::new(&mut out, Compression::best());
            encoder
                .write_all(plain)
                .and_then(|()| encoder.finish().map(|_| ()))
        }
        Encoding::Brotli => {
            let parameters = brotli::enc::BrotliEncoderParams {
                quality: 9,
                ..Default::default()
            };
            brotli::BrotliCompress(&mut &*plain, &mut out, &parameters).map(|_| ())
        }
    };
    written.expect("memory can be written to");
    (out.len() < plain.len()).then(|| out.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn chosen(accepted: &str) -> Option<Encoding> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, accepted.parse().expect("a header"));
        Encoding::of(&headers, &[Encoding::Brotli, Encoding::Gzip])
    }

    #[test]
    fn the_client_chooses_the_encoding() {
        for (accepted, encoding) in [
            ("gzip, deflate, br", Some(Encoding::Brotli)),
            ("gzip", Some(Encoding::Gzip)),
            ("GZIP;q=0.5", Some(Encoding::Gzip)),
            ("br;q=0.5, gzip", Some(Encoding::Gzip)),
            ("*", Some(Encoding::Brotli)),
            ("br;q=0, *", Some(Encoding::Gzip)),
            ("identity", None),
            ("identity, gzip;q=0.1", None),
            ("gzip;q=0", None),
            ("gzip;q=2, br;q=x", None),
            ("zstd", None),
            ("", None),
        ] {
            assert_eq!(chosen(accepted), encoding, "{accepted}");
        }
        assert_eq!(Encoding::of(&HeaderMap::new(), &[Encoding::Gzip]), None);
    }

    #[test]
    fn long_texts_are_worth_it_and_streams_of_events_never_are() {
        assert!(is_worth_it("application/problem+json", 2_000));
        assert!(is_worth_it("text/csv; charset=utf-8", 2_000));
        assert!(!is_worth_it("application/json", 100));
        assert!(!is_worth_it("text/event-stream", 1_000_000));
        assert!(!is_worth_it("image/png", 1_000_000));
    }

    #[test]
    fn pieces_can_be_read_as_they_come_and_make_one_body() {
        let mut stream = GzipStream::new();
        let first = stream.piece(b"first\n");
        let mut read = [0; 6];
        flate2::read::GzDecoder::new(&*first)
            .read_exact(&mut read)
            .expect("readable before the end");
        assert_eq!(&read, b"first\n");
        let whole = [first, stream.piece(b"second"), stream.end()].concat();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*whole)
            .read_to_string(&mut text)
            .expect("a whole body");
        assert_eq!(text, "first\nsecond");
    }

    #[tokio::test]
    async fn a_file_comes_back_as_it_was() {
        let plain = "all work and no play ".repeat(10_000);
        let gzip = compressed_well(plain.as_bytes(), Encoding::Gzip).expect("smaller");
        let fast = gzipped(plain.clone().into()).await;
        for body in [gzip, fast] {
            let mut text = String::new();
            flate2::read::GzDecoder::new(&*body)
                .read_to_string(&mut text)
                .expect("gzip");
            assert!(text == plain);
        }
        let brotli = compressed_well(plain.as_bytes(), Encoding::Brotli).expect("smaller");
        let mut text = String::new();
        brotli::Decompressor::new(&*brotli, 4096)
            .read_to_string(&mut text)
            .expect("brotli");
        assert!(text == plain);
        assert_eq!(compressed_well(b"x", Encoding::Gzip), None);
    }
}
