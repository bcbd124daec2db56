//! The account that PostgreSQL runs as: ourselves, or, since PostgreSQL refuses to be root, somebody else.

use std::{
    env, fs, io,
    os::unix::{
        fs::{MetadataExt, lchown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

use nix::unistd::{Uid, User};

use super::EmbeddedError;

/// The environment variable that names the account to run PostgreSQL as, where we are root.
pub const ACCOUNT_VARIABLE: &str = "BELLWETHER_PG_USER";

/// Accounts that are tried in turn where none is named.
const USUAL_ACCOUNTS: [&str; 2] = ["postgres", "nobody"];

/// Whom PostgreSQL's programs run as.
#[derive(Clone, Debug)]
pub(super) struct Account {
    /// Somebody else than us; none where we are not root.
    other: Option<User>,
}

impl Account {
    /// Chooses the account: the one that the environment names, else the owner of the data, else a usual one.
    pub(super) fn choose(data: &Path) -> Result<Self, EmbeddedError> {
        if !Uid::effective().is_root() {
            return Ok(Self { other: None });
        }
        let named = env::var(ACCOUNT_VARIABLE)
            .ok()
            .filter(|name| !name.is_empty());
        let other = match &named {
            Some(name) => find(name),
            None => owner(data).or_else(|| USUAL_ACCOUNTS.iter().find_map(|name| find(name))),
        };
        match other {
            Some(user) => Ok(Self { other: Some(user) }),
            None => Err(EmbeddedError::NoAccount {
                name: named.unwrap_or_else(|| USUAL_ACCOUNTS.join(" or ")),
            }),
        }
    }

    /// Lets a command run as the account.
    pub(super) fn apply(&self, command: &mut Command) {
        if let Some(user) = &self.other {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
    }

    /// Gives a folder and all that is in it to the account. Symbolic links are not followed.
    pub(super) fn own(&self, folder: &Path) -> Result<(), EmbeddedError> {
        let Some(user) = &self.other else {
            return Ok(());
        };
        for entry in walkdir::WalkDir::new(folder) {
            let path = entry
                .as_ref()
                .map_or(folder, walkdir::DirEntry::path)
                .to_owned();
            entry
                .map_err(io::Error::from)
                .and_then(|entry| {
                    let owner = fs::symlink_metadata(entry.path())?.uid();
                    if owner == user.uid.as_raw() {
                        return Ok(());
                    }
                    lchown(
                        entry.path(),
                        Some(user.uid.as_raw()),
                        Some(user.gid.as_raw()),
                    )
                })
                .map_err(EmbeddedError::file("change the owner of", path))?;
        }
        Ok(())
    }

    /// Makes sure that the account can get to a folder at all.
    pub(super) fn reach(&self, folder: &Path) -> Result<(), EmbeddedError> {
        let Some(user) = &self.other else {
            return Ok(());
        };
        for parent in folder.ancestors().skip(1) {
            let metadata =
                fs::metadata(parent).map_err(EmbeddedError::file("read the rights of", parent))?;
            if !may_enter(&metadata, user) {
                return Err(EmbeddedError::OutOfReach {
                    parent: parent.to_owned(),
                    account: user.name.clone(),
                });
            }
        }
        Ok(())
    }
}

fn find(name: &str) -> Option<User> {
    User::from_name(name)
        .ok()
        .flatten()
        .filter(|user| !user.uid.is_root())
}

fn owner(path: &Path) -> Option<User> {
    let owner = Uid::from_raw(fs::metadata(path).ok()?.uid());
    User::from_uid(owner)
        .ok()
        .flatten()
        .filter(|user| !user.uid.is_root())
}

fn may_enter(folder: &fs::Metadata, user: &User) -> bool {
    let execute = match () {
        () if folder.uid() == user.uid.as_raw() => 0o100,
        () if folder.gid() == user.gid.as_raw() => 0o010,
        () => 0o001,
    };
    folder.mode() & execute != 0
}
