//! What happens to the mirrors between two rounds: somebody edits, deletes and adds a few files there, so that the next
//! round has something to update, to insert and to delete.

use std::{fs, io, path::Path};

use rand::seq::IndexedRandom;

use super::mirror::contents;

/// Of the files of a mirror, this share is edited, and as many are deleted.
const SHARE: f64 = 0.03;
/// At most so many of each, in one mirror.
const MOST: usize = 20;
/// Files that the source does not have.
const STRAYS: usize = 3;

/// Changes each mirror a little. An empty one stays empty.
pub(super) fn stir(mirrors: &Path) -> io::Result<()> {
    for mirror in fs::read_dir(mirrors)? {
        let mirror = mirror?;
        if mirror.file_type()?.is_dir() {
            stir_one(&mirror.path())?;
        }
    }
    Ok(())
}

fn stir_one(mirror: &Path) -> io::Result<()> {
    let files = contents(mirror);
    if files.is_empty() {
        return Ok(());
    }
    let some = ((files.len() as f64 * SHARE).ceil() as usize).min(MOST);
    let chosen: Vec<_> = files.sample(&mut rand::rng(), 2 * some).collect();
    let (edited, deleted) = chosen.split_at(chosen.len() / 2);
    for file in edited {
        replace(&mirror.join(file), b"edited by hand\n")?;
    }
    for file in deleted {
        fs::remove_file(mirror.join(file))?;
    }
    for number in 0..STRAYS {
        replace(
            &mirror.join(format!("stray-{number}.tmp")),
            b"not in the source\n",
        )?;
    }
    Ok(())
}

/// Makes a new file in the place of an old one, so that a link there is not written through.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stirring_edits_deletes_and_adds_and_does_not_write_through_a_link() {
        let folder = tempfile::tempdir().expect("a folder");
        let outside = folder.path().join("outside");
        fs::write(&outside, "mine").expect("a file");
        let mirror = folder.path().join("mirrors/job");
        fs::create_dir_all(&mirror).expect("a folder");
        fs::write(mirror.join("a"), "as it was").expect("a file");
        std::os::unix::fs::symlink(&outside, mirror.join("link")).expect("a link");
        stir(&folder.path().join("mirrors")).expect("stirred");
        assert_eq!(fs::read_to_string(&outside).expect("a file"), "mine");
        let left = contents(&mirror);
        assert_eq!(
            left.len(),
            2 + STRAYS - 1,
            "one edited, one deleted: {left:?}"
        );
    }
}
