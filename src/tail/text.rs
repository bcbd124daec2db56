//! Text that is safe to show, and numbers as people write them.

use std::fmt::Write;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// Makes text from anywhere safe for a terminal: nothing in it can move the cursor, change colours, begin a new line or
/// turn the direction of writing. Such characters are shown as their pictures, and what is longer than `longest`
/// characters is cut, with a mark.
pub(crate) fn safe(text: &str, longest: usize) -> String {
    let mut characters = text.chars();
    let mut shown: String = characters.by_ref().take(longest).map(picture).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

fn picture(character: char) -> char {
    match character {
        '\0'..='\x1f' => char::from_u32(0x2400 + character as u32).unwrap_or('\u{fffd}'),
        '\x7f' => '␡',
        '\u{80}'..='\u{9f}' => '\u{fffd}',
        // line and paragraph separators, and whatever turns the direction or is not seen
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => '\u{fffd}',
        '\u{61c}' | '\u{feff}' => '\u{fffd}',
        other => other,
    }
}

/// One line of JSON that a terminal shows as it is, too: the few control characters that JSON allows to stand for
/// themselves are escaped, and white space between its parts that would break the line is a space.
pub(super) fn one_line(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '\n' | '\r' => line.push(' '),
            '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                write!(line, "\\u{:04x}", character as u32).expect("a String takes anything");
            }
            other => line.push(other),
        }
    }
    line
}

/// The time of day, in the zone of this machine.
pub(super) fn clock(instant: Timestamp) -> String {
    instant
        .to_zoned(TimeZone::system())
        .strftime("%H:%M:%S")
        .to_string()
}

/// A length of time in the units that a person would use: `0.4 s`, `2 min 5 s`, `3 h 20 min`.
pub(crate) fn length(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..10 => format!("{:.1} s", seconds.max(0.0)),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// How long from one instant to another, as [`length`]; nothing where it is before it.
pub(crate) fn length_between(from: Timestamp, to: Timestamp) -> String {
    length(
        to.duration_since(from)
            .max(SignedDuration::ZERO)
            .as_secs_f64(),
    )
}

/// Items per second, with as many digits as mean something.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        10.0.. => format!("{per_second:.0}/s"),
        1.0.. => format!("{per_second:.1}/s"),
        _ => format!("{per_second:.2}/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_text_can_neither_move_the_cursor_nor_fake_a_line() {
        let hostile = "a\x1b[2Jb\r\n✓ faked\u{9b}1A\u{202e}txt\u{2028}";
        let shown = safe(hostile, 100);
        assert_eq!(shown, "a␛[2Jb␍␊✓ faked\u{fffd}1A\u{fffd}txt\u{fffd}");
        assert!(!shown.chars().any(char::is_control));
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_marked() {
        assert_eq!(safe("äöü", 2), "äö…");
        assert_eq!(safe("äöü", 3), "äöü");
    }

    #[test]
    fn a_json_line_stays_one_line_and_means_the_same() {
        let json = "{\n\"a\": \"\u{9b}x\u{2028}\u{7f}\"}";
        let line = one_line(json);
        assert!(
            !line.contains('\n') && !line.chars().any(char::is_control),
            "{line:?}"
        );
        let meaning = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(meaning(&line), meaning(json));
    }

    #[test]
    fn lengths_and_rates_are_written_as_people_write_them() {
        let lengths = [0.04, 9.4, 12.6, 59.7, 125.0, 12_000.0, -3.0].map(length);
        assert_eq!(
            lengths,
            [
                "0.0 s",
                "9.4 s",
                "13 s",
                "1 min 0 s",
                "2 min 5 s",
                "3 h 20 min",
                "0.0 s"
            ]
        );
        assert_eq!([0.254, 1.25, 48.2].map(rate), ["0.25/s", "1.2/s", "48/s"]);
    }
}
