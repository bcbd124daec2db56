//! The one folder in which the demo writes.
//!
//! ```text
//! scratch/.bellwether-demo     says that the folder is ours and which one it is; locked while a demo runs
//! scratch/mirrors/<job>/…      what the jobs have copied
//! scratch/parts/<job>          the copy in hand, before it takes its place
//! scratch/sources/…            folders that the demo makes itself, to copy from
//! ```
//!
//! A folder with anything in it that lacks our mark is refused. Only the owner may look inside, since copies of
//! settings may be there.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;
use uuid::Uuid;

const MARK: &str = ".bellwether-demo";
const MARK_TEXT: &str = "bellwether demo writes in this folder and may delete anything in it\n";

/// Why a folder can not be the demo's scratch folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScratchError {
    /// It holds somebody's files.
    #[error("scratch folder {}: expected a new or empty folder, or one of an earlier demo", .0.display())]
    NotOurs(PathBuf),
    /// It belongs to another user, who could lead us anywhere from there.
    #[error("scratch folder {}: expected a folder of your own, this one belongs to another user", .0.display())]
    Foreign(PathBuf),
    /// Another demo works in it.
    #[error("scratch folder {}: another demo is using it", .0.display())]
    InUse(PathBuf),
    /// It can not be made or used.
    #[error("scratch folder {}: can not {action}", path.display())]
    Io {
        /// The folder or a file in it.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it did not work.
        #[source]
        source: io::Error,
    },
}

/// The folder, locked for this process.
#[derive(Debug)]
pub(super) struct Scratch {
    root: PathBuf,
    /// Tells operations of demos in this folder from all others, over restarts too.
    id: Uuid,
    /// Holds the lock; the operating system lets go of it however the process ends.
    _mark: File,
}

impl Scratch {
    /// Makes the folder where there is none, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, ScratchError> {
        let failed = |action| {
            move |source| ScratchError::Io {
                path: path.to_owned(),
                action,
                source,
            }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed("make it"))?;
        let root = path.canonicalize().map_err(failed("find it"))?;
        let owner = root.metadata().map_err(failed("look at it"))?.uid();
        if owner != geteuid().as_raw() {
            return Err(ScratchError::Foreign(root));
        }
        let is_marked = root
            .join(MARK)
            .symlink_metadata()
            .is_ok_and(|mark| mark.is_file());
        let is_empty = fs::read_dir(&root)
            .map_err(failed("read it"))?
            .next()
            .is_none();
        if !is_marked && !is_empty {
            return Err(ScratchError::NotOurs(root));
        }
        let mut mark = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(root.join(MARK))
            .map_err(failed("write in it"))?;
        match mark.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ScratchError::InUse(root)),
            Err(TryLockError::Error(source)) => return Err(failed("lock it")(source)),
        }
        fs::set_permissions(&root, Permissions::from_mode(0o700))
            .map_err(failed("keep it private"))?;
        let id = read_or_write_id(&mut mark).map_err(failed("write in it"))?;
        let scratch = Self {
            root,
            id,
            _mark: mark,
        };
        for folder in [scratch.mirrors(), scratch.parts(), scratch.sources()] {
            make_real_folder(&folder).map_err(failed("make folders in it"))?;
        }
        Ok(scratch)
    }

    /// The folder itself, without links in its path.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Which scratch folder this is.
    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    /// Holds one mirror a job.
    pub(super) fn mirrors(&self) -> PathBuf {
        self.root.join("mirrors")
    }

    /// Holds the copies in hand.
    pub(super) fn parts(&self) -> PathBuf {
        self.root.join("parts")
    }

    /// Holds the sources that the demo makes itself.
    pub(super) fn sources(&self) -> PathBuf {
        self.root.join("sources")
    }
}

/// The id in the mark. One that was cut off when the first demo died half-way is written anew.
fn read_or_write_id(mark: &mut File) -> io::Result<Uuid> {
    let mut text = String::new();
    mark.read_to_string(&mut text)?;
    if let Some(id) = text
        .strip_prefix(MARK_TEXT)
        .and_then(|id| id.trim().parse().ok())
    {
        return Ok(id);
    }
    let id = Uuid::new_v4();
    mark.set_len(0)?;
    mark.write_all(format!("{MARK_TEXT}{id}\n").as_bytes())?;
    Ok(id)
}

/// Makes sure that a folder is there and is no link; something else in its place is removed.
pub(super) fn make_real_folder(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => {
            fs::remove_file(path)?;
            fs::create_dir(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(path),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_somebodys_files_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let theirs = folder.path().join("thesis.txt");
        fs::write(&theirs, "years of work").expect("a file");
        let refused = Scratch::open(folder.path()).expect_err("refused");
        assert!(matches!(refused, ScratchError::NotOurs(_)), "{refused}");
        let names: Vec<_> = fs::read_dir(folder.path()).expect("a listing").collect();
        assert_eq!(names.len(), 1);
    }

    #[test]
    fn a_folder_of_another_user_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = if geteuid().is_root() {
            let nobody = Some(65_534);
            std::os::unix::fs::chown(folder.path(), nobody, None).expect("root may give away");
            folder.path()
        } else {
            Path::new("/") // root's
        };
        let refused = Scratch::open(path).expect_err("refused");
        assert!(matches!(refused, ScratchError::Foreign(_)), "{refused}");
    }

    #[test]
    fn a_second_demo_is_refused_while_the_first_runs_and_then_finds_the_same_id() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/scratch");
        let first = Scratch::open(&path).expect("a new folder");
        let refused = Scratch::open(&path).expect_err("locked");
        assert!(matches!(refused, ScratchError::InUse(_)), "{refused}");
        let id = first.id();
        drop(first);
        assert_eq!(Scratch::open(&path).expect("free again").id(), id);
    }

    #[test]
    fn nobody_else_may_look_into_the_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("scratch");
        let scratch = Scratch::open(&path).expect("a new folder");
        let mode = fs::metadata(scratch.root())
            .expect("metadata")
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0);
    }

    #[test]
    fn a_link_in_the_place_of_a_folder_is_replaced_and_its_target_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("target");
        fs::create_dir(&target).expect("a folder");
        let place = folder.path().join("place");
        std::os::unix::fs::symlink(&target, &place).expect("a link");
        make_real_folder(&place).expect("a folder");
        assert!(place.symlink_metadata().expect("metadata").is_dir());
        assert!(target.is_dir());
    }
}
