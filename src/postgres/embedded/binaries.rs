//! Finds PostgreSQL's server programs on this machine.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use super::EmbeddedError;
use crate::postgres::schema::OLDEST_SERVER;

/// The environment variable that names the folder with `postgres` and `initdb`.
pub const BINARIES_VARIABLE: &str = "BELLWETHER_PG_BINDIR";

/// Where packages put the programs: a folder, what the names in it begin with, and what follows the version.
const USUAL_PLACES: [(&str, &str, &str); 6] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// One installation of the server programs.
#[derive(Clone, Debug)]
pub(super) struct Binaries {
    /// The folder that they are in.
    folder: PathBuf,
    /// Their major version.
    major: u32,
}

impl Binaries {
    /// Finds programs for data of major version `data`, or for new data.
    ///
    /// `BELLWETHER_PG_BINDIR` decides alone where it is set. Otherwise `pg_config`, `PATH` and the usual places are
    /// searched in this order, the newest version of a place first.
    pub(super) fn find(folder: &Path, data: Option<u32>) -> Result<Self, EmbeddedError> {
        let installed = match env::var_os(BINARIES_VARIABLE).map(PathBuf::from) {
            Some(folder) => match Self::in_folder(&folder) {
                Some(found) => vec![found],
                None => return Err(EmbeddedError::NoBinaries { folder }),
            },
            None => candidates()
                .iter()
                .filter_map(|folder| Self::in_folder(folder))
                .collect(),
        };
        let Some(first) = installed.first() else {
            return Err(EmbeddedError::NotInstalled);
        };
        let Some(data) = data else {
            return Ok(first.clone());
        };
        if let Some(matching) = installed.iter().find(|found| found.major == data) {
            return Ok(matching.clone());
        }
        let mut majors: Vec<_> = installed.iter().map(|found| found.major).collect();
        majors.sort_unstable();
        majors.dedup();
        let majors: Vec<_> = majors.iter().map(u32::to_string).collect();
        Err(EmbeddedError::OtherVersion {
            folder: folder.to_owned(),
            found: data,
            installed: majors.join(", "),
        })
    }

    /// The path of one of the programs.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Looks into one folder. Programs that are too old are as good as none.
    fn in_folder(folder: &Path) -> Option<Self> {
        if !folder.join("initdb").is_file() {
            return None;
        }
        let major = major_of(&output(
            Command::new(folder.join("postgres")).arg("--version"),
        )?)?;
        (i64::from(major) >= i64::from(OLDEST_SERVER)).then(|| Self {
            folder: folder.to_owned(),
            major,
        })
    }
}

fn candidates() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Some(folder) = output(Command::new("pg_config").arg("--bindir")) {
        folders.push(PathBuf::from(folder.trim()));
    }
    if let Some(path) = env::var_os("PATH") {
        folders.extend(env::split_paths(&path));
    }
    for (parent, prefix, suffix) in USUAL_PLACES {
        folders.extend(versions_in(Path::new(parent), prefix, suffix));
    }
    folders.push(PathBuf::from("/usr/local/pgsql/bin"));
    folders
}

/// The folders of one usual place, the newest version first.
fn versions_in(parent: &Path, prefix: &str, suffix: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = parent
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?.parse().ok()?;
            Some((version, entry.path().join(suffix)))
        })
        .collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, folder)| folder).collect()
}

/// What a command prints, if it succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` is 15; so is `15devel`.
fn major_of(version: &str) -> Option<u32> {
    let number = version.split_once(") ")?.1;
    let digits = number
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(number.len());
    number[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_postgres_prints() {
        assert_eq!(
            major_of("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"),
            Some(15)
        );
        assert_eq!(major_of("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major_of("something else"), None);
    }

    #[test]
    fn the_newest_version_of_a_place_comes_first() {
        let place = tempfile::tempdir().expect("a folder");
        for name in ["9", "15", "17", "notes"] {
            std::fs::create_dir(place.path().join(name)).expect("a folder in it");
        }
        let found = versions_in(place.path(), "", "bin");
        let expected = ["17", "15", "9"].map(|name| place.path().join(name).join("bin"));
        assert_eq!(found, expected);
    }
}
