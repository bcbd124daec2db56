//! Page tokens: where a page ended, opaque to clients.
//!
//! The sort key of the page's last row, as bytes in base64url: a version, the order's code, then each part. A token says
//! nothing that a client may not know and grants nothing, so it is not signed; one that is forged either is refused
//! here or names another place in the same list.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use uuid::Uuid;

use crate::postgres::read::{DatabaseInstant, KeyKind, KeyPart, Position};

/// The form of the tokens that this version writes.
const VERSION: u8 = 1;
/// Longest token that is looked at. Texts in sort keys are primary keys, which PostgreSQL keeps below a third of that.
const MAX_BYTES: usize = 8 * 1024;

/// Why a token is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the value of \"next\" from the page before, with the same sort")]
pub(super) struct BadToken;

/// Writes a token.
pub(super) fn encode(Position(parts): &Position, code: u8) -> String {
    let mut bytes = vec![VERSION, code];
    for part in parts {
        match part {
            KeyPart::Instant(instant) => bytes.extend(instant.count().to_be_bytes()),
            KeyPart::Integer(number) => bytes.extend(number.to_be_bytes()),
            KeyPart::Uuid(id) => bytes.extend(id.as_bytes()),
            KeyPart::Text(text) => {
                let length =
                    u32::try_from(text.len()).expect("a text of the database is below 1 GB");
                bytes.extend(length.to_be_bytes());
                bytes.extend(text.as_bytes());
            }
        }
    }
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a token.
///
/// # Errors
/// Where it is not one, or is of another order than the one with this code and these parts.
pub(super) fn decode(
    token: &str,
    code: u8,
    kinds: impl Iterator<Item = KeyKind>,
) -> Result<Position, BadToken> {
    if token.len() > MAX_BYTES {
        return Err(BadToken);
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| BadToken)?;
    let mut rest = bytes.strip_prefix(&[VERSION, code]).ok_or(BadToken)?;
    let parts = kinds
        .map(|kind| take(&mut rest, kind))
        .collect::<Option<_>>();
    match parts {
        Some(parts) if rest.is_empty() => Ok(Position(parts)),
        _ => Err(BadToken),
    }
}

fn take(rest: &mut &[u8], kind: KeyKind) -> Option<KeyPart> {
    Some(match kind {
        KeyKind::Instant => KeyPart::Instant(DatabaseInstant::from_count(i64::from_be_bytes(
            chunk(rest)?,
        ))?),
        KeyKind::Integer => KeyPart::Integer(i64::from_be_bytes(chunk(rest)?)),
        KeyKind::Uuid => KeyPart::Uuid(Uuid::from_bytes(chunk(rest)?)),
        KeyKind::Text => {
            let length = usize::try_from(u32::from_be_bytes(chunk(rest)?)).ok()?;
            let (text, after) = rest.split_at_checked(length)?;
            *rest = after;
            let text = std::str::from_utf8(text).ok()?;
            KeyPart::Text(Some(text).filter(|text| !text.contains('\0'))?.to_owned())
        }
    })
}

fn chunk<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (chunk, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*chunk)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part() -> impl Strategy<Value = (KeyKind, KeyPart)> {
        prop_oneof![
            any::<i32>().prop_map(|count| {
                let instant = DatabaseInstant::from_count(count.into()).expect("an instant");
                (KeyKind::Instant, KeyPart::Instant(instant))
            }),
            any::<i64>().prop_map(|number| (KeyKind::Integer, KeyPart::Integer(number))),
            any::<u128>().prop_map(|id| (KeyKind::Uuid, KeyPart::Uuid(Uuid::from_u128(id)))),
            "[^\0]{0,40}".prop_map(|text| (KeyKind::Text, KeyPart::Text(text))),
        ]
    }

    proptest! {
        #[test]
        fn a_token_names_the_place_that_it_was_made_for(parts in prop::collection::vec(part(), 1..4), code: u8) {
            let (kinds, parts): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
            let position = Position(parts);
            let token = encode(&position, code);
            prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
            prop_assert_eq!(decode(&token, code, kinds.iter().copied()), Ok(position));
            prop_assert_eq!(decode(&token, code.wrapping_add(1), kinds.iter().copied()), Err(BadToken));
            prop_assert_eq!(decode(&token[..token.len() - 2], code, kinds.into_iter()), Err(BadToken));
        }

        #[test]
        fn a_forged_token_never_breaks_anything(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let bytes = [&[VERSION, 7], &*bytes].concat();
            let token = BASE64_URL_SAFE_NO_PAD.encode(bytes);
            for kind in [KeyKind::Instant, KeyKind::Integer, KeyKind::Uuid, KeyKind::Text] {
                if let Ok(position) = decode(&token, 7, [kind].into_iter()) {
                    prop_assert_eq!(encode(&position, 7), token.clone());
                }
            }
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for token in ["1", "!!", "AAAA", &"A".repeat(MAX_BYTES + 1)] {
            assert_eq!(decode(token, 1, [KeyKind::Text].into_iter()), Err(BadToken));
        }
    }
}
