//! The shape of the code: which part may know which.

use std::path::{Path, PathBuf};

/// All Rust files below a folder of `src`, or the file of that name.
fn files(place: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (folder, file) = (root.join(place), root.join(format!("{place}.rs")));
    let mut found: Vec<_> = Some(file)
        .into_iter()
        .filter(|file| file.exists())
        .collect();
    let mut folders: Vec<_> = Some(folder)
        .into_iter()
        .filter(|folder| folder.is_dir())
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
        {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                found.push(entry);
            }
        }
    }
    assert!(!found.is_empty(), "there is no {place}");
    found
}

/// Everything directly below `src`, without endings.
fn places() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let entries = std::fs::read_dir(root)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path());
    entries
        .map(|path| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}

/// The lines of code, not of comments, that name something.
fn mentions(place: &str, name: &str) -> Vec<String> {
    let lines = files(place).into_iter().flat_map(|file| {
        let text = std::fs::read_to_string(&file).expect("a readable file");
        let lines: Vec<_> = text
            .lines()
            .map(|line| format!("{}: {line}", file.display()))
            .collect();
        lines
    });
    let is_code = |line: &String| !line.contains("//") && line.contains(name);
    lines.filter(is_code).collect()
}

#[test]
fn only_the_parts_that_talk_to_postgresql_name_its_driver() {
    for place in places()
        .iter()
        .filter(|place| !["postgres", "source", "scheduler", "doctor"].contains(&place.as_str()))
    {
        assert_eq!(mentions(place, "tokio_postgres"), Vec::<String>::new());
    }
    assert!(
        !mentions("source", "tokio_postgres").is_empty(),
        "the test can see"
    );
}

#[test]
fn only_the_http_side_names_the_web_framework() {
    for place in places().iter().filter(|place| *place != "http") {
        assert_eq!(mentions(place, "warp::"), Vec::<String>::new());
    }
    assert!(!mentions("http", "warp::").is_empty(), "the test can see");
}

#[test]
fn the_arrows_go_one_way() {
    let above = |place: &str| match place {
        "event" | "cursor" => vec![
            "hub",
            "http",
            "source",
            "scheduler",
            "postgres",
            "app",
            "doctor",
            "cli",
        ],
        "hub" => vec![
            "http",
            "source",
            "scheduler",
            "postgres",
            "app",
            "doctor",
            "cli",
        ],
        "postgres" => vec!["hub", "http", "source", "scheduler", "app", "doctor", "cli"],
        "http" => vec!["source", "scheduler", "app", "doctor", "cli"],
        "source" => vec!["http", "scheduler", "app", "doctor", "cli"],
        "scheduler" => vec!["http", "source", "app", "doctor", "cli"],
        // It looks at the relay from outside, as every client does.
        "doctor" => vec!["hub", "http", "scheduler", "app", "cli"],
        _ => vec![],
    };
    for place in places() {
        for forbidden in above(&place) {
            assert_eq!(
                mentions(&place, &format!("crate::{forbidden}")),
                Vec::<String>::new()
            );
        }
    }
}
