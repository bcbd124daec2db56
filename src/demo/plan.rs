//! Which jobs a round has, and what happens to each of them.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{DemoError, corner, scratch::Scratch};

/// One job of one round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    /// The operation's id.
    pub(super) id: Uuid,
    /// Short and the same in every round; good as the name of a folder.
    pub(super) name: String,
    /// What it copies from.
    pub(super) source: PathBuf,
    /// The words of the application.
    pub(super) operation_type: &'static str,
    /// Whose job it is.
    pub(super) owner: &'static str,
    /// What started it.
    pub(super) triggered_by: &'static str,
    /// Whether it counts what there is before it begins; else the total is unknown until it ends.
    pub(super) counts_first: bool,
    /// What its owner does when it is half-way.
    pub(super) half_way: Option<Wish>,
    /// Whether another program is at work in its source.
    pub(super) disturbed: bool,
}

/// What an owner may do to a running job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// End it.
    Cancel,
    /// Hold it up for a while.
    Pause,
}

const OWNERS: [&str; 3] = ["alice", "bob", "carol"];
const TRIGGERS: [&str; 3] = ["schedule", "webhook", "alice"];

/// The jobs of a round (counted from 0): one for each folder, one for each source of our own.
///
/// Some do not know their total until they end. In most rounds one job is cancelled half-way and one is paused; which
/// ones goes round, so that each gets done in the end.
pub(super) fn jobs(sources: &[PathBuf], scratch: &Scratch, round: u32) -> Vec<Job> {
    let roles = sources.len().max(3); // with fewer folders there are rounds in which nothing happens to any
    let is_turn_of =
        |index: usize, offset: usize| (index + round as usize + offset).is_multiple_of(roles);
    let mut jobs: Vec<Job> = sources
        .iter()
        .enumerate()
        .map(|(index, source)| {
            let counts_first = index % 3 != 1;
            Job {
                operation_type: if counts_first { "full_sync" } else { "import" },
                counts_first,
                half_way: if is_turn_of(index, 0) && counts_first {
                    Some(Wish::Cancel)
                } else if is_turn_of(index, 1) && counts_first {
                    Some(Wish::Pause)
                } else {
                    None
                },
                ..plain(source.clone(), name_of(source), index)
            }
        })
        .collect();
    jobs.push(Job {
        operation_type: "upload",
        disturbed: true,
        half_way: Some(Wish::Pause).filter(|_| round % 2 == 1),
        ..plain(corner::inbox(scratch), "inbox".to_owned(), 1)
    });
    jobs.push(Job {
        operation_type: "backup",
        counts_first: false,
        ..plain(corner::disk(scratch), "backup-disk".to_owned(), 2)
    });
    jobs
}

fn plain(source: PathBuf, name: String, index: usize) -> Job {
    Job {
        id: Uuid::new_v4(),
        name,
        source,
        operation_type: "full_sync",
        owner: OWNERS[index % OWNERS.len()],
        triggered_by: TRIGGERS[index % TRIGGERS.len()],
        counts_first: true,
        half_way: None,
        disturbed: false,
    }
}

/// The end of the path, and the beginning of a hash of all of it, so that two folders do not share a mirror.
fn name_of(source: &Path) -> String {
    let last: String = source
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .chars()
        .map(|character| {
            if character.is_ascii_alphanumeric() {
                character
            } else {
                '-'
            }
        })
        .take(40)
        .collect();
    let hash = Sha256::digest(source.as_os_str().as_encoded_bytes());
    let hash = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    format!("{last}-{hash:08x}")
}

/// The sources without links in their paths; the usual ones where none is given.
pub(super) fn checked_sources(
    given: &[PathBuf],
    scratch: &Scratch,
) -> Result<Vec<PathBuf>, DemoError> {
    let wrong = |path: &Path, expected| DemoError::Source {
        path: path.to_owned(),
        expected,
    };
    let mut sources = Vec::new();
    for path in given {
        let source = path
            .canonicalize()
            .map_err(|_| wrong(path, "a folder that exists"))?;
        if !source.is_dir() {
            return Err(wrong(path, "a folder"));
        }
        if source.starts_with(scratch.root()) {
            return Err(wrong(path, "a folder outside the scratch folder"));
        }
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    if given.is_empty() {
        sources = default_sources();
    }
    if sources.is_empty() {
        return Err(DemoError::NoSources);
    }
    Ok(sources)
}

/// Folders that most machines have, and the repository that one stands in.
fn default_sources() -> Vec<PathBuf> {
    const COMMON: [&str; 4] = ["/usr/share/doc", "/usr/share/man", "/etc", "/usr/include"];
    let repository = std::env::current_dir().ok().and_then(|folder| {
        folder
            .ancestors()
            .find(|folder| folder.join(".git").exists())
            .map(Path::to_owned)
    });
    COMMON
        .iter()
        .map(PathBuf::from)
        .chain(repository)
        .filter(|folder| folder.is_dir())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(sources: &[&str], rounds: u32) -> Vec<Vec<Job>> {
        let folder = tempfile::tempdir().expect("a folder");
        let scratch = Scratch::open(&folder.path().join("scratch")).expect("a scratch folder");
        let sources: Vec<_> = sources.iter().map(PathBuf::from).collect();
        (0..rounds)
            .map(|round| jobs(&sources, &scratch, round))
            .collect()
    }

    #[test]
    fn some_job_is_cancelled_one_paused_and_one_counts_nothing_beforehand_within_three_rounds() {
        for sources in [&["/a"][..], &["/a", "/b"], &["/a", "/b", "/c", "/d", "/e"]] {
            let jobs: Vec<Job> = rounds(sources, 3).concat();
            assert!(jobs.iter().any(|job| job.half_way == Some(Wish::Cancel)));
            assert!(jobs.iter().any(|job| job.half_way == Some(Wish::Pause)));
            assert!(jobs.iter().any(|job| !job.counts_first));
        }
    }

    #[test]
    fn a_folder_that_is_cancelled_in_one_round_gets_done_in_another() {
        let rounds = rounds(&["/a", "/b", "/c"], 6);
        for index in 0..rounds[0].len() {
            assert!(
                rounds
                    .iter()
                    .any(|jobs| jobs[index].half_way != Some(Wish::Cancel))
            );
        }
    }

    #[test]
    fn folders_of_the_same_name_have_mirrors_of_their_own() {
        assert_ne!(name_of(Path::new("/a/doc")), name_of(Path::new("/b/doc")));
        assert_eq!(name_of(Path::new("/a/doc")), name_of(Path::new("/a/doc")));
    }

    #[test]
    fn a_source_that_can_not_be_one_is_refused_and_the_same_one_counts_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let scratch = Scratch::open(&folder.path().join("scratch")).expect("a scratch folder");
        let checked = |paths: &[&Path]| {
            let paths: Vec<_> = paths.iter().map(|path| path.to_path_buf()).collect();
            checked_sources(&paths, &scratch)
        };
        let file = folder.path().join("file");
        std::fs::write(&file, "").expect("a file");
        for wrong in [file, folder.path().join("missing"), scratch.sources()] {
            let error = checked(&[&wrong]).expect_err("refused").to_string();
            assert!(error.contains("expected a folder"), "{error}");
        }
        let twice = checked(&[folder.path(), &folder.path().join(".")]).expect("a folder");
        assert_eq!(twice.len(), 1);
    }
}
