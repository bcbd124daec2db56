//! Rows as CSV (RFC 4180): a header, then one line a row; texts as they are, null as nothing, objects as JSON.
//!
//! Spreadsheets run a cell that begins with `=`, `+`, `-`, `@`, a tab or a line break as a formula, and texts here come
//! from anywhere: a file's name may be one. Such a text gets an apostrophe before it, which spreadsheets take for "this
//! is text". Numbers are never touched. Whoever needs texts to the letter takes NDJSON.

use std::collections::HashMap;

use serde_json::value::RawValue;

/// Appends the line of the columns' names.
pub(super) fn write_header(columns: &[&str], out: &mut Vec<u8>) -> Result<(), csv::Error> {
    write_lines(out, |writer| writer.write_record(columns))
}

/// Appends the rows, each given as a JSON object.
///
/// # Errors
/// Where a row is not a JSON object.
pub(super) fn write_rows(
    columns: &[&str],
    rows: &[String],
    out: &mut Vec<u8>,
) -> Result<(), csv::Error> {
    write_lines(out, |writer| {
        for row in rows {
            let row: HashMap<&str, &RawValue> =
                serde_json::from_str(row).map_err(std::io::Error::other)?;
            for column in columns {
                writer.write_field(cell(row.get(column).map_or("null", |value| value.get()))?)?;
            }
            writer.write_record(None::<&[u8]>)?;
        }
        Ok(())
    })
}

fn write_lines(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut csv::Writer<&mut Vec<u8>>) -> Result<(), csv::Error>,
) -> Result<(), csv::Error> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(out);
    write(&mut writer)?;
    Ok(writer.flush()?)
}

/// A JSON value as a cell.
fn cell(json: &str) -> Result<String, csv::Error> {
    if json == "null" {
        return Ok(String::new());
    }
    if !json.starts_with('"') {
        return Ok(json.to_owned());
    }
    let mut text: String = serde_json::from_str(json).map_err(std::io::Error::other)?;
    if text.starts_with(is_formula_sign) {
        text.insert(0, '\'');
    }
    Ok(text)
}

/// What makes a spreadsheet run a cell, the wide forms of `=`, `+`, `-` and `@` on East Asian keyboards included.
fn is_formula_sign(sign: char) -> bool {
    const NARROW: &str = "=+-@\t\r\n";
    const WIDE: &str = "\u{ff1d}\u{ff0b}\u{ff0d}\u{ff20}";
    NARROW.contains(sign) || WIDE.contains(sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(row: &str) -> String {
        let columns = ["id", "name", "size", "map"];
        let mut out = Vec::new();
        write_header(&columns, &mut out).expect("a header");
        write_rows(&columns, &[row.to_owned()], &mut out).expect("a row");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn values_are_written_so_that_nothing_is_lost() {
        let row = r#"{"map":{"a": [1, 2]},"id":9007199254740993,"size":1.50,"name":"say \"hi\",\nbye","more":1}"#;
        assert_eq!(
            lines(row),
            "id,name,size,map\r\n9007199254740993,\"say \"\"hi\"\",\nbye\",1.50,\"{\"\"a\"\": [1, 2]}\"\r\n"
        );
        assert_eq!(
            lines(r#"{"id":null,"name":""}"#),
            "id,name,size,map\r\n,,,\r\n"
        );
    }

    #[test]
    fn a_text_that_a_spreadsheet_would_run_is_marked_as_text_and_a_number_is_not() {
        for text in [
            "=1+1",
            "+1",
            "-1",
            "@x",
            r"\tx",
            r"\nx",
            r"\rx",
            "\u{ff1d}1",
            "=cmd|' /C calc'!A0",
        ] {
            let line = lines(&format!(r#"{{"name":"{text}"}}"#));
            assert!(
                line.contains(",'") || line.contains(",\"'"),
                "{text}: {line}"
            );
        }
        assert!(lines(r#"{"size":-1.5}"#).ends_with(",,-1.5,\r\n"));
        assert!(lines(r#"{"name":"a=b"}"#).contains(",a=b,"));
    }

    #[test]
    fn what_is_no_row_is_an_error() {
        assert!(write_rows(&["id"], &["[1]".to_owned()], &mut Vec::new()).is_err());
    }
}
