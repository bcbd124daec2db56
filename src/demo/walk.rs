//! What there is to copy in a folder: a bounded walk that follows no link.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use walkdir::{DirEntry, WalkDir};

/// Folders that nobody wants copied: what can be built again, and hundreds of links to elsewhere.
const LEFT_OUT: [&str; 4] = [".git", "target", "node_modules", "alternatives"];
/// Deeper folders are not entered.
const DEEPEST: usize = 16;
/// A walk looks at no more entries than this for each file that it may return.
const ENTRIES_PER_FILE: usize = 20;

/// One thing that was met.
#[derive(Debug)]
pub(super) enum Found {
    /// A folder; its contents follow.
    Folder,
    /// Something to copy, or to say why not.
    Item(Item),
    /// Something that can not even be looked at.
    Unreadable {
        /// Where, as far as it is known.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

/// A file, a link or something special.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// Where it is.
    pub(super) path: PathBuf,
    /// The same below the source folder.
    pub(super) relative: PathBuf,
}

/// What a walk may look at.
#[derive(Clone, Debug)]
pub(super) struct WalkLimits {
    /// It ends after so many files.
    pub(super) most_files: usize,
    /// This folder is not entered.
    pub(super) left_out: PathBuf,
    /// Folders that not everybody may read are not entered.
    pub(super) only_public: bool,
}

/// Walks through a folder in the order of names.
///
/// # Errors
/// Where the folder itself is missing, is none or can not be read. It may be a link; nothing in it is followed.
pub(super) fn walk(
    source: &Path,
    limits: WalkLimits,
) -> io::Result<impl Iterator<Item = Found> + use<>> {
    let root = source.canonicalize()?;
    std::fs::read_dir(&root)?;
    let mut remaining = limits.most_files;
    let most_entries = remaining.saturating_mul(ENTRIES_PER_FILE);
    let entries = WalkDir::new(&root)
        .min_depth(1)
        .max_depth(DEEPEST)
        .same_file_system(true)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(move |entry| !is_left_out(entry, &limits))
        .take(most_entries);
    Ok(entries.map_while(move |entry| {
        let found = classify(&root, entry);
        if !matches!(found, Found::Folder) {
            remaining = remaining.checked_sub(1)?;
        }
        Some(found)
    }))
}

fn is_left_out(entry: &DirEntry, limits: &WalkLimits) -> bool {
    entry.file_type().is_dir()
        && (entry.path() == limits.left_out
            || LEFT_OUT.iter().any(|name| entry.file_name() == *name)
            || (limits.only_public && is_private(entry)))
}

fn is_private(entry: &DirEntry) -> bool {
    const READ_AND_ENTER: u32 = 0o005;
    entry
        .metadata()
        .is_ok_and(|about| about.mode() & READ_AND_ENTER != READ_AND_ENTER)
}

fn classify(root: &Path, entry: walkdir::Result<DirEntry>) -> Found {
    match entry {
        Ok(entry) if entry.file_type().is_dir() => Found::Folder,
        Ok(entry) => {
            let path = entry.into_path();
            let relative = path.strip_prefix(root).unwrap_or(&path).to_owned();
            Found::Item(Item { path, relative })
        }
        Err(error) => {
            let path = error.path().unwrap_or(root);
            let path = path.strip_prefix(root).unwrap_or(path).to_owned();
            let error = error.into_io_error();
            // Without an error of the system it would be a loop of links, and none is followed.
            let error = error.unwrap_or_else(|| io::ErrorKind::Other.into());
            Found::Unreadable { path, error }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    fn limits(most_files: usize) -> WalkLimits {
        WalkLimits {
            most_files,
            left_out: PathBuf::new(),
            only_public: false,
        }
    }

    fn names(source: &Path, limits: WalkLimits) -> Vec<String> {
        walk(source, limits)
            .expect("a folder")
            .filter_map(|found| match found {
                Found::Item(item) => Some(item.relative.to_string_lossy().into_owned()),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_walk_follows_no_link_and_enters_neither_the_scratch_folder_nor_build_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("a path");
        for name in ["a", "scratch", "target", "z"] {
            fs::create_dir(root.join(name)).expect("a folder");
            fs::write(root.join(name).join("file"), name).expect("a file");
        }
        std::os::unix::fs::symlink(root.join("z"), root.join("link")).expect("a link");
        let limits = WalkLimits {
            left_out: root.join("scratch"),
            ..limits(10)
        };
        assert_eq!(names(&root, limits), ["a/file", "link", "z/file"]);
    }

    #[test]
    fn a_walk_ends_after_as_many_files_as_it_may_return() {
        let folder = tempfile::tempdir().expect("a folder");
        for number in 0..9 {
            fs::write(folder.path().join(number.to_string()), "").expect("a file");
        }
        assert_eq!(names(folder.path(), limits(3)), ["0", "1", "2"]);
    }

    #[test]
    fn a_walk_for_everybody_does_not_enter_a_private_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, mode) in [("private", 0o700), ("public", 0o755)] {
            let inner = folder.path().join(name);
            fs::create_dir(&inner).expect("a folder");
            fs::write(inner.join("file"), name).expect("a file");
            fs::set_permissions(&inner, fs::Permissions::from_mode(mode)).expect("a mode");
        }
        let for_everybody = WalkLimits {
            only_public: true,
            ..limits(10)
        };
        assert_eq!(names(folder.path(), for_everybody), ["public/file"]);
        assert_eq!(
            names(folder.path(), limits(10)),
            ["private/file", "public/file"]
        );
    }

    #[test]
    fn a_missing_source_is_an_error_of_the_whole_walk() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("missing");
        assert!(walk(&missing, limits(1)).is_err());
    }
}
