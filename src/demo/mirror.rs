//! The work on one file: look at it, hash it, copy it where the copy differs; and removing what the source has no more.
//!
//! Reading opens nothing but regular files, waits for nothing and follows no link but one that stays in the source.
//! Writing goes to a new file beside the mirror, which then takes the old one's place in one step.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Component, Path, PathBuf},
};

use nix::fcntl::OFlag;
use sha2::{Digest, Sha256};

use super::{scratch::make_real_folder, walk::Item};

const BLOCK: usize = 64 * 1024;

/// What a job mirrors, and how much of it.
#[derive(Clone, Debug)]
pub(super) struct Mirror {
    /// The source folder, without links in its path.
    pub(super) source: PathBuf,
    /// Where its copy is.
    pub(super) target: PathBuf,
    /// Where the copy in hand is, on the same file system.
    pub(super) part: PathBuf,
    /// Larger files are skipped, in bytes.
    pub(super) largest_file: u64,
    /// Whether to skip what not everybody may read: a demo that runs as root reads anything, and must not spread it.
    pub(super) only_public: bool,
}

/// What became of one file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The mirror had no such file.
    Inserted(Bytes),
    /// The mirror had another content.
    Updated(Bytes),
    /// The mirror was right.
    Kept(Bytes),
    /// Left out, and why.
    Skipped(&'static str),
    /// It did not work.
    Failed {
        /// For people.
        message: String,
        /// For programs.
        code: &'static str,
    },
}

/// How much was read and written for one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes {
    /// Bytes of the source that were read.
    pub(super) hashed: u64,
    /// Bytes that were written.
    pub(super) copied: u64,
}

/// Mirrors one file; at most `budget` bytes may be written for it.
pub(super) fn mirror(mirror: &Mirror, item: &Item, budget: u64) -> Outcome {
    try_mirror(mirror, item, budget).unwrap_or_else(|error| Outcome::Failed {
        code: code_of(&error),
        message: error.to_string(),
    })
}

fn try_mirror(mirror: &Mirror, item: &Item, budget: u64) -> io::Result<Outcome> {
    let path = match resolve(mirror, &item.path)? {
        Resolved::File(path) => path,
        Resolved::Skip(reason) => return Ok(Outcome::Skipped(reason)),
        Resolved::Broken { message, code } => return Ok(Outcome::Failed { message, code }),
    };
    let mut source = open(&path)?;
    let about = source.metadata()?;
    if about.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if mirror.only_public && about.mode() & 0o004 == 0 {
        return Ok(Outcome::Skipped("private"));
    }
    if about.len() > mirror.largest_file {
        return Ok(Outcome::Skipped("too_large"));
    }
    let target = mirror.target.join(&item.relative);
    let existing = target.symlink_metadata().ok().map(|found| found.is_file());
    let hash = hash(&mut source)?;
    let mut bytes = Bytes {
        hashed: about.len(),
        copied: 0,
    };
    if existing == Some(true) && self::hash(&mut open(&target)?)? == hash {
        return Ok(Outcome::Kept(bytes));
    }
    if about.len() > budget {
        return Ok(Outcome::Skipped("over_budget"));
    }
    bytes.copied = copy(&mut open(&path)?, &mirror.part, mirror.largest_file)?;
    take_place(mirror, &item.relative)?;
    Ok(match existing {
        Some(_) => Outcome::Updated(bytes),
        None => Outcome::Inserted(bytes),
    })
}

enum Resolved {
    File(PathBuf),
    Skip(&'static str),
    Broken { message: String, code: &'static str },
}

/// Finds out what is really there; a link is followed only within the source.
fn resolve(mirror: &Mirror, path: &Path) -> io::Result<Resolved> {
    let about = path.symlink_metadata()?;
    if !about.is_symlink() {
        return Ok(if about.is_file() {
            Resolved::File(path.to_owned())
        } else if about.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        } else {
            Resolved::Skip("not_a_file")
        });
    }
    let leads_to = fs::read_link(path)?;
    let end = match path.canonicalize() {
        Ok(end) => end,
        Err(error) => {
            let code = match error.kind() {
                io::ErrorKind::NotFound => "dangling_link",
                _ => code_of(&error),
            };
            let message = format!("the link leads to {}: {error}", leads_to.display());
            return Ok(Resolved::Broken { message, code });
        }
    };
    Ok(if !end.starts_with(&mirror.source) {
        Resolved::Skip("link_out_of_the_source")
    } else if end.is_file() {
        Resolved::File(end)
    } else {
        Resolved::Skip("link_to_a_folder")
    })
}

/// Opens a file to read. Something that has taken its place since is not followed and not waited for.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path)
}

fn hash(file: &mut File) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hash.finalize().into()),
            read => hash.update(&block[..read]),
        }
    }
}

/// Copies into a new file that only the owner may read. A source that grows meanwhile is cut at the largest size.
fn copy(source: &mut File, part: &Path, most: u64) -> io::Result<u64> {
    match fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut target = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(part)?;
    let copied = io::copy(&mut source.take(most), &mut target)?;
    target.flush()?;
    Ok(copied)
}

/// Puts the copy where it belongs; whatever is in its way there is removed.
fn take_place(mirror: &Mirror, relative: &Path) -> io::Result<()> {
    let mut place = mirror.target.clone();
    make_real_folder(&place)?;
    let mut components = relative.components().peekable();
    while let Some(component) = components.next() {
        let Component::Normal(name) = component else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "expected a path below the source",
            ));
        };
        place.push(name);
        if components.peek().is_some() {
            make_real_folder(&place)?;
        }
    }
    if place.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        fs::remove_dir_all(&place)?;
    }
    fs::rename(&mirror.part, &place)
}

/// What the mirror has, below its folder: everything but folders. Nothing, where a link stands in its place.
pub(super) fn contents(target: &Path) -> Vec<PathBuf> {
    walkdir::WalkDir::new(target)
        .follow_root_links(false)
        .min_depth(1)
        .sort_by_file_name()
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| !entry.file_type().is_dir())
        .filter_map(|entry| entry.path().strip_prefix(target).map(Path::to_owned).ok())
        .collect()
}

/// Removes one file from the mirror, and the folders that are empty without it.
pub(super) fn remove(mirror: &Mirror, relative: &Path) -> io::Result<()> {
    let path = mirror.target.join(relative);
    fs::remove_file(&path)?;
    let folders = path
        .ancestors()
        .skip(1)
        .take_while(|folder| *folder != mirror.target);
    for folder in folders {
        if fs::remove_dir(folder).is_err() {
            break; // it is not empty
        }
    }
    Ok(())
}

/// The error for programs.
pub(super) fn code_of(error: &io::Error) -> &'static str {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => "vanished",
        ErrorKind::PermissionDenied => "permission_denied",
        ErrorKind::IsADirectory => "is_a_folder",
        ErrorKind::NotADirectory => "not_a_folder",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "no_space",
        _ if error.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32) => "link_loop",
        _ => "io_error",
    }
}

#[cfg(test)]
#[path = "mirror_tests.rs"]
mod tests;
