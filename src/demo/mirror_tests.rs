use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};

struct Place {
    _folder: tempfile::TempDir,
    root: PathBuf,
    mirror: Mirror,
}

fn place() -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().canonicalize().expect("a path");
    let mirror = Mirror {
        source: root.join("source"),
        target: root.join("target"),
        part: root.join("part"),
        largest_file: 1000,
        only_public: false,
    };
    fs::create_dir(&mirror.source).expect("a folder");
    Place {
        _folder: folder,
        root,
        mirror,
    }
}

impl Place {
    fn write(&self, relative: &str, text: &str) -> PathBuf {
        let path = self.mirror.source.join(relative);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(&path, text).expect("a file");
        path
    }

    fn copy(&self, relative: &str, budget: u64) -> Outcome {
        let item = Item {
            path: self.mirror.source.join(relative),
            relative: relative.into(),
        };
        mirror(&self.mirror, &item, budget)
    }

    fn code(&self, relative: &str) -> &'static str {
        match self.copy(relative, 1000) {
            Outcome::Failed { code, .. } => code,
            other => panic!("expected a failure, got {other:?}"),
        }
    }
}

fn bytes(hashed: u64, copied: u64) -> Bytes {
    Bytes { hashed, copied }
}

#[test]
fn a_file_is_inserted_then_kept_then_updated() {
    let place = place();
    place.write("deep/a.txt", "one");
    assert_eq!(
        place.copy("deep/a.txt", 1000),
        Outcome::Inserted(bytes(3, 3))
    );
    assert_eq!(place.copy("deep/a.txt", 1000), Outcome::Kept(bytes(3, 0)));
    place.write("deep/a.txt", "four");
    assert_eq!(
        place.copy("deep/a.txt", 1000),
        Outcome::Updated(bytes(4, 4))
    );
    let copy = place.mirror.target.join("deep/a.txt");
    assert_eq!(fs::read_to_string(&copy).expect("a copy"), "four");
    let mode = fs::metadata(&copy).expect("metadata").permissions().mode();
    assert_eq!(mode & 0o077, 0, "nobody else may read a copy");
}

#[test]
fn what_is_too_large_private_special_or_over_budget_is_skipped() {
    let mut place = place();
    place.write("large", &"x".repeat(1001));
    assert_eq!(place.copy("large", 2000), Outcome::Skipped("too_large"));
    place.write("some", "text");
    assert_eq!(place.copy("some", 3), Outcome::Skipped("over_budget"));
    nix::unistd::mkfifo(
        &place.mirror.source.join("pipe"),
        nix::sys::stat::Mode::S_IRWXU,
    )
    .expect("a pipe");
    assert_eq!(place.copy("pipe", 1000), Outcome::Skipped("not_a_file"));
    let private = place.write("private", "secret");
    fs::set_permissions(private, fs::Permissions::from_mode(0o600)).expect("a mode");
    place.mirror.only_public = true;
    assert_eq!(place.copy("private", 1000), Outcome::Skipped("private"));
    assert!(contents(&place.mirror.target).is_empty());
}

#[test]
fn a_link_is_followed_within_the_source_and_never_out_of_it() {
    let place = place();
    let file = place.write("file", "text");
    let outside = place.root.join("outside");
    fs::write(&outside, "not yours").expect("a file");
    let link = |name: &str, to: &Path| symlink(to, place.mirror.source.join(name)).expect("a link");
    link("inwards", &file);
    link("outwards", &outside);
    link("nowhere", Path::new("gone"));
    link("circle", Path::new("circle"));
    assert_eq!(place.copy("inwards", 1000), Outcome::Inserted(bytes(4, 4)));
    assert_eq!(
        place.copy("outwards", 1000),
        Outcome::Skipped("link_out_of_the_source")
    );
    assert_eq!(place.code("nowhere"), "dangling_link");
    assert_eq!(place.code("circle"), "link_loop");
}

#[test]
fn a_file_that_has_vanished_or_become_a_folder_fails_with_its_own_code() {
    let place = place();
    fs::create_dir(place.mirror.source.join("folder")).expect("a folder");
    assert_eq!(place.code("folder"), "is_a_folder");
    assert_eq!(place.code("gone"), "vanished");
}

#[test]
fn a_link_planted_in_the_mirror_is_replaced_and_never_written_through() {
    let place = place();
    let outside = place.root.join("outside");
    fs::create_dir(&outside).expect("a folder");
    fs::write(outside.join("file"), "mine").expect("a file");
    place.write("folder/file", "theirs");
    fs::create_dir(&place.mirror.target).expect("a folder");
    symlink(&outside, place.mirror.target.join("folder")).expect("a link");
    assert!(matches!(
        place.copy("folder/file", 1000),
        Outcome::Inserted(_) | Outcome::Updated(_)
    ));
    assert_eq!(
        fs::read_to_string(outside.join("file")).expect("a file"),
        "mine"
    );
    assert!(
        place
            .mirror
            .target
            .join("folder")
            .symlink_metadata()
            .expect("metadata")
            .is_dir()
    );
}

#[test]
fn a_link_in_the_place_of_the_mirror_shows_nothing_of_what_it_leads_to() {
    let place = place();
    place.write("file", "text");
    symlink(&place.mirror.source, &place.mirror.target).expect("a link");
    assert!(contents(&place.mirror.target).is_empty());
}

#[test]
fn a_copy_never_lands_outside_its_mirror() {
    let place = place();
    place.write("file", "text");
    let item = Item {
        path: place.mirror.source.join("file"),
        relative: "../escaped".into(),
    };
    assert!(matches!(
        mirror(&place.mirror, &item, 1000),
        Outcome::Failed { .. }
    ));
    assert!(!place.root.join("escaped").exists());
}

#[test]
fn removing_the_last_file_of_a_folder_removes_the_folder_but_not_the_mirror() {
    let place = place();
    place.write("deep/er/a", "x");
    place.copy("deep/er/a", 1000);
    remove(&place.mirror, Path::new("deep/er/a")).expect("removed");
    assert!(!place.mirror.target.join("deep").exists());
    assert!(place.mirror.target.is_dir());
}
