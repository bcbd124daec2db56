//! Sources that the demo makes itself, so that every kind of trouble is really there: a folder of awkward files, and a
//! disk that is unplugged now and then.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

use nix::{sys::stat::Mode, unistd::mkfifo};

use super::scratch::Scratch;

/// In this round and each third one after it, the disk is not there.
const UNPLUGGED_EVERY: u32 = 3;
const ORDINARY_FILES: u32 = 40;
const DISK_FILES: u32 = 60;
/// Will be deleted under the job's hands.
const VANISHING: &str = "33-vanishing.log";
/// Will be replaced by a folder under the job's hands.
const CHANGING: &str = "34-becomes-a-folder";

/// Where the awkward files are.
pub(super) fn inbox(scratch: &Scratch) -> PathBuf {
    scratch.sources().join("inbox")
}

/// Where the disk is, when it is plugged in.
pub(super) fn disk(scratch: &Scratch) -> PathBuf {
    scratch.sources().join("backup-disk")
}

/// Makes both sources as they are to be in this round (counted from 0), different from the round before.
pub(super) fn prepare(scratch: &Scratch, round: u32) -> io::Result<()> {
    remake(&inbox(scratch))?;
    fill(&inbox(scratch), ORDINARY_FILES, round)?;
    make_trouble(&inbox(scratch))?;
    if round % UNPLUGGED_EVERY == UNPLUGGED_EVERY - 1 {
        return remove_folder(&disk(scratch));
    }
    remake(&disk(scratch))?;
    fill(&disk(scratch), DISK_FILES, round)
}

/// What another program would do to the folder of awkward files while a job is at work in it.
pub(super) fn disturb(inbox: &Path) -> io::Result<()> {
    fs::remove_file(inbox.join(VANISHING))?;
    fs::remove_file(inbox.join(CHANGING))?;
    fs::create_dir(inbox.join(CHANGING))
}

fn remake(folder: &Path) -> io::Result<()> {
    remove_folder(folder)?;
    fs::create_dir(folder)
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Ordinary files: some come and go from round to round, some change, most stay as they are.
fn fill(folder: &Path, files: u32, round: u32) -> io::Result<()> {
    const EXTENSIONS: [&str; 5] = ["txt", "csv", "json", "log", "png"];
    for number in 0..files {
        let extension = EXTENSIONS[number as usize % EXTENSIONS.len()];
        let comes_and_goes = number % 10 == 9;
        if comes_and_goes && (round + number / 10).is_multiple_of(2) {
            continue;
        }
        let version = if number % 10 == 5 { round } else { 0 };
        let line = format!("file {number}, version {version}\n");
        let repeated = line.repeat(1 + number as usize * 7);
        fs::write(folder.join(format!("{number:02}.{extension}")), repeated)?;
    }
    Ok(())
}

fn make_trouble(inbox: &Path) -> io::Result<()> {
    const TOO_LARGE: u64 = 1 << 30; // sparse: it takes no room
    symlink("nowhere/at-all.txt", inbox.join("10-dangling-link"))?;
    symlink("11-link-loop", inbox.join("11-link-loop"))?;
    symlink("/etc/hosts", inbox.join("12-link-out-of-the-folder"))?;
    symlink("01.csv", inbox.join("13-link-that-is-fine.csv"))?;
    File::create(inbox.join("14-far-too-large.iso"))?.set_len(TOO_LARGE)?;
    mkfifo(&inbox.join("15-pipe"), Mode::S_IRWXU)?;
    let private = inbox.join("16-private.txt");
    fs::write(&private, "for one person only\n")?;
    fs::set_permissions(&private, Permissions::from_mode(0o000))?;
    let hostile = b"17-hostile\x1b[2J\x1b[H name \xff.txt";
    fs::write(inbox.join(std::ffi::OsStr::from_bytes(hostile)), "hello\n")?;
    fs::write(inbox.join(VANISHING), "now you see me\n")?;
    fs::write(inbox.join(CHANGING), "now I am a file\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sources_differ_from_round_to_round_and_the_disk_is_missing_every_third_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let scratch = Scratch::open(&folder.path().join("scratch")).expect("a scratch folder");
        let mut changing = Vec::new();
        let mut plugged = Vec::new();
        for round in 0..4 {
            prepare(&scratch, round).expect("prepared");
            changing.push(fs::read(inbox(&scratch).join("05.txt")).expect("a file"));
            plugged.push(disk(&scratch).is_dir());
        }
        assert_ne!(changing[0], changing[1]);
        assert_eq!(plugged, [true, true, false, true]);
    }

    #[test]
    fn a_disturbance_takes_away_one_file_and_turns_another_into_a_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let scratch = Scratch::open(&folder.path().join("scratch")).expect("a scratch folder");
        prepare(&scratch, 0).expect("prepared");
        disturb(&inbox(&scratch)).expect("disturbed");
        assert!(!inbox(&scratch).join(VANISHING).exists());
        assert!(inbox(&scratch).join(CHANGING).is_dir());
    }
}
