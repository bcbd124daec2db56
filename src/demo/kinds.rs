//! What kind of file something is, by its name: the keys of `entities_encountered`.

use std::path::Path;

/// A short plural for people. Names that tell nothing are `other files`.
pub(super) fn kind_of(path: &Path) -> &'static str {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy())
        .unwrap_or_default();
    let mut parts = name.rsplit('.');
    let mut extension = parts.next().unwrap_or_default().to_ascii_lowercase();
    if extension == "gz" && is_manual_section(parts.next().unwrap_or_default()) {
        return "manual pages";
    }
    if extension.len() == name.len() {
        extension.clear(); // there was no dot at all
    }
    match extension.as_str() {
        "txt" | "md" | "rst" | "text" | "readme" => "texts",
        "html" | "htm" | "xml" | "css" | "svg" => "markup",
        "png" | "jpg" | "jpeg" | "gif" | "ico" | "webp" => "images",
        "gz" | "bz2" | "xz" | "zip" | "zst" | "tar" => "archives",
        "h" | "hh" | "hpp" | "hxx" => "headers",
        "rs" | "c" | "cc" | "cpp" | "ts" | "js" | "sql" | "java" | "go" => "sources",
        "py" | "pl" | "pm" | "sh" | "rb" => "scripts",
        "conf" | "cfg" | "ini" | "toml" | "yaml" | "yml" | "service" => "settings",
        "json" | "csv" | "tsv" | "dat" | "db" => "data files",
        "so" | "a" | "o" | "rlib" => "libraries",
        section if is_manual_section(section) => "manual pages",
        _ if matches!(
            &*name,
            "copyright" | "changelog" | "README" | "LICENSE" | "NEWS" | "AUTHORS"
        ) =>
        {
            "texts"
        }
        _ => "other files",
    }
}

/// `1` to `9`, also with a suffix: `3perl`.
fn is_manual_section(extension: &str) -> bool {
    extension.starts_with(|first: char| first.is_ascii_digit() && first != '0')
        && extension.len() <= 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_their_names() {
        for (name, kind) in [
            ("notes.TXT", "texts"),
            ("ls.1.gz", "manual pages"),
            ("strict.3perl", "manual pages"),
            ("changelog.Debian.gz", "archives"),
            ("stdio.h", "headers"),
            ("copyright", "texts"),
            ("h", "other files"),
            ("strange", "other files"),
            ("", "other files"),
        ] {
            assert_eq!(kind_of(Path::new(name)), kind, "{name:?}");
        }
    }
}
