//! The writers in `examples/`, each run as its README says, on real files, with what its language needs installed once.

use std::{fs, os::unix::fs::symlink, path::Path};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    example_tools::{example, node_modules, python, run, run_refused},
    schema_probe::Probe,
};

/// A name that SQL, shells and file systems read differently.
const ODD_NAME: &str = "it's \\ an ödd name.txt";

/// A folder with four files in two folders, and a link that leads nowhere.
fn source_folder() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path();
    fs::create_dir(path.join("sub")).expect("a folder");
    for (name, content) in [
        ("a.txt", "alpha"),
        ("b.txt", "beta"),
        ("sub/c.md", "gamma"),
        (ODD_NAME, "delta"),
    ] {
        fs::write(path.join(name), content).expect("a file");
    }
    symlink("nowhere", path.join("dangling.txt")).expect("a link");
    folder
}

/// A folder with a file that is right, one that is out of date, and one that has no source.
fn target_folder() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    for (name, content) in [("a.txt", "alpha"), ("b.txt", "old"), ("gone.txt", "gone")] {
        fs::write(folder.path().join(name), content).expect("a file");
    }
    folder
}

fn assert_same_files(source: &Path, target: &Path) {
    for name in ["a.txt", "b.txt", "sub/c.md", ODD_NAME] {
        let read = |folder: &Path| {
            fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
        };
        assert_eq!(read(target), read(source), "{name}");
    }
}

/// The newest operation: the given columns.
async fn operation(probe: &Probe, columns: &str) -> Value {
    let query = format!("SELECT {columns} FROM sync_operations ORDER BY created_at DESC LIMIT 1");
    probe.json(&query).await
}

/// That the log has the operation from its creation to its end, with as many reports in between.
async fn assert_recorded(probe: &Probe, end: &str, reports: usize) {
    let kinds: Vec<_> = probe
        .kinds()
        .await
        .into_iter()
        .filter(|kind| kind.starts_with("operation."))
        .collect();
    assert_eq!(kinds.first().map(String::as_str), Some("operation.created"));
    assert_eq!(kinds.last(), Some(&format!("operation.{end}")));
    let progress = kinds
        .iter()
        .filter(|kind| *kind == "operation.progress")
        .count();
    assert_eq!((progress, kinds.len()), (reports, reports + 2), "{kinds:?}");
}

#[tokio::test]
async fn psql_imports_contacts_by_batches() {
    let probe = Probe::new().await;
    let csv = fs::read(example("psql").join("contacts.csv")).expect("contacts.csv");
    let import = async |csv: &[u8]| {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("input.csv");
        fs::write(&file, csv).expect("a file");
        let mut command = Command::new(probe.client_program("psql").await);
        command
            .args([
                "-d",
                &probe.database.url(),
                "-v",
                "batch=3",
                "-f",
                "import-contacts.sql",
            ])
            .current_dir(example("psql"))
            .stdin(fs::File::open(file).expect("the file"));
        command
    };
    run(&mut import(&csv).await).await;
    let counts = "status, progress, total_items, processed_items, inserted_items, updated_items, kept_items, skipped_items, failed_items";
    let expected = json!({"status": "completed", "progress": 100, "total_items": 7, "processed_items": 7, "inserted_items": 4,
        "updated_items": 0, "kept_items": 0, "skipped_items": 1, "failed_items": 2});
    assert_eq!(operation(&probe, counts).await, expected);
    assert_eq!(
        probe
            .text("SELECT string_agg(name, '; ' ORDER BY email) FROM contacts")
            .await,
        "Ada Lovelace; Alan Turing; Liskov, Barbara; Rear Admiral Grace Hopper"
    );
    let errors = probe.text("SELECT string_agg(item || ': ' || message, '; ' ORDER BY item) FROM sync_operation_errors").await;
    assert_eq!(errors, "line 4: no e-mail address; line 7: no name");
    // The total, three batches.
    assert_recorded(&probe, "completed", 4).await;

    let changed = String::from_utf8(csv)
        .expect("UTF-8")
        .replace("Ada Lovelace", "Ada King");
    run(&mut import(changed.as_bytes()).await).await;
    let expected = json!({"inserted_items": 0, "updated_items": 1, "kept_items": 3});
    assert_eq!(
        operation(&probe, "inserted_items, updated_items, kept_items").await,
        expected
    );

    let said = run_refused(&mut import(b"email,name\na@example.org,A,too,much\n").await).await;
    assert!(said.contains("the file cannot be read as CSV"), "{said}");
    let expected =
        json!({"status": "failed", "error": "the file cannot be read as CSV", "total_items": null});
    assert_eq!(
        operation(&probe, "status, error, total_items").await,
        expected
    );
}

#[tokio::test]
async fn psycopg_mirrors_a_folder() {
    let probe = Probe::new().await;
    let (source, target) = (source_folder(), target_folder());
    let mut command = Command::new(python().await);
    command
        .arg(example("python-psycopg").join("mirror.py"))
        .args([source.path(), target.path()]);
    run(command.env("DATABASE_URL", probe.database.url())).await;

    assert_same_files(source.path(), target.path());
    assert!(!target.path().join("gone.txt").exists());
    let columns = "status, operation_type, source, progress, total_items, processed_items, inserted_items, updated_items, deleted_items,
        kept_items, failed_items, entities_encountered, items_per_second > 0 AS has_rate, duration_seconds > 0 AS has_duration";
    let expected = json!({"status": "completed", "operation_type": "full_sync", "source": source.path(), "progress": 100, "total_items": 6,
        "processed_items": 6, "inserted_items": 2, "updated_items": 1, "deleted_items": 1, "kept_items": 1, "failed_items": 1,
        "entities_encountered": {".txt": 5, ".md": 1}, "has_rate": true, "has_duration": true});
    assert_eq!(operation(&probe, columns).await, expected);
    let errors = probe
        .json("SELECT item, message, code FROM sync_operation_errors")
        .await;
    assert_eq!(
        errors,
        json!({"item": "dangling.txt", "message": "No such file or directory", "code": "FileNotFoundError"})
    );
    assert_recorded(&probe, "completed", 6).await;
    let items: Vec<_> = probe
        .events()
        .await
        .into_iter()
        .map(|event| event.data["current_item"].clone())
        .collect();
    assert!(items.contains(&json!(ODD_NAME)), "{items:?}");
}

#[tokio::test]
async fn psycopg_stops_when_somebody_cancels_the_job() {
    let probe = Probe::new().await;
    // Somebody who cancels after the second file.
    probe
        .run(
            "CREATE FUNCTION cancel() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 UPDATE sync_operations SET status = 'cancelled' WHERE id = NEW.id; RETURN NULL;
             END $$;
             CREATE TRIGGER cancels AFTER UPDATE ON sync_operations FOR EACH ROW
                 WHEN (NEW.processed_items = 2 AND NEW.status = 'in_progress') EXECUTE FUNCTION cancel();",
        )
        .await;
    let (source, target) = (source_folder(), target_folder());
    let mut command = Command::new(python().await);
    command
        .arg(example("python-psycopg").join("mirror.py"))
        .args([source.path(), target.path()]);
    run(command.env("DATABASE_URL", probe.database.url())).await;
    let state = operation(&probe, "status, processed_items < total_items AS stopped").await;
    assert_eq!(state, json!({"status": "cancelled", "stopped": true}));
    assert!(!target.path().join("sub").exists());
}

#[tokio::test]
async fn sqlalchemy_keeps_a_list_of_checksums() {
    let probe = Probe::new().await;
    let (source, scratch) = (source_folder(), TempDir::new().expect("a temporary folder"));
    let list = scratch.path().join("list.sha256");
    let checksum = |content: &str| format!("{:x}", Sha256::digest(content));
    let before = format!(
        "{}  a.txt\n{}  b.txt\n{}  gone.txt\n",
        checksum("alpha"),
        checksum("old"),
        checksum("gone")
    );
    fs::write(&list, before).expect("a list");
    let mut command = Command::new(python().await);
    command
        .arg(example("python-sqlalchemy").join("checksums.py"))
        .args([source.path(), &list]);
    let said = run(command.env("DATABASE_URL", probe.database.url())).await;
    let derived = operation(&probe, "duration_seconds::text").await;
    let derived = derived["duration_seconds"]
        .as_str()
        .expect("a duration")
        .to_owned();
    assert!(
        said.contains(&format!("6 files in {derived}")),
        "what the database derived ({derived}) has come back: {said}"
    );

    let found = fs::read_to_string(&list).expect("a list");
    let expected = [
        ("a.txt", "alpha"),
        ("b.txt", "beta"),
        (ODD_NAME, "delta"),
        ("sub/c.md", "gamma"),
    ];
    let expected: String = expected
        .iter()
        .map(|(name, content)| format!("{}  {name}\n", checksum(content)))
        .collect();
    assert_eq!(found, expected);
    let columns = "status, progress, total_items, processed_items, inserted_items, updated_items, deleted_items, kept_items, failed_items, counters";
    let expected = json!({"status": "completed", "progress": 100, "total_items": 6, "processed_items": 6, "inserted_items": 2,
        "updated_items": 1, "deleted_items": 1, "kept_items": 1, "failed_items": 1, "counters": {"bytes": 19}});
    assert_eq!(operation(&probe, columns).await, expected);
    let errors = probe
        .json("SELECT item, message FROM sync_operation_errors")
        .await;
    assert_eq!(
        errors,
        json!({"item": "dangling.txt", "message": "No such file or directory"})
    );
    assert_recorded(&probe, "completed", 5).await;
}

#[tokio::test]
async fn node_compresses_a_folder_whose_size_it_does_not_know() {
    let probe = Probe::new().await;
    let (source, target) = (source_folder(), TempDir::new().expect("a temporary folder"));
    fs::write(target.path().join("a.txt.gz"), "newer than its source").expect("a file");
    let outdated = fs::File::create(target.path().join("b.txt.gz")).expect("a file");
    outdated
        .set_modified(std::time::UNIX_EPOCH)
        .expect("an old file");
    let program = TempDir::new().expect("a temporary folder");
    for file in ["compress.js", "package.json"] {
        fs::copy(example("node-pg").join(file), program.path().join(file)).expect("a copy");
    }
    symlink(node_modules().await, program.path().join("node_modules")).expect("a link");
    let mut command = Command::new("node");
    command
        .arg(program.path().join("compress.js"))
        .args([source.path(), target.path()]);
    run(command.env("DATABASE_URL", probe.database.url())).await;

    for (name, content) in [
        ("b.txt", "beta"),
        ("sub/c.md", "gamma"),
        (ODD_NAME, "delta"),
    ] {
        let file = target.path().join(format!("{name}.gz"));
        assert_eq!(
            run(Command::new("gzip").arg("-dc").arg(file)).await,
            content
        );
    }
    assert!(!target.path().join("dangling.txt.gz").exists());
    let columns = "status, progress, total_items, processed_items, inserted_items, updated_items, kept_items, failed_items, entities_encountered";
    let expected = json!({"status": "completed", "progress": 100, "total_items": 5, "processed_items": 5, "inserted_items": 2,
        "updated_items": 1, "kept_items": 1, "failed_items": 1, "entities_encountered": {".txt": 4, ".md": 1}});
    assert_eq!(operation(&probe, columns).await, expected);
    let errors = probe
        .json("SELECT item, code FROM sync_operation_errors")
        .await;
    assert_eq!(errors, json!({"item": "dangling.txt", "code": "ENOENT"}));
    assert_recorded(&probe, "completed", 6).await;
    let mut operations: Vec<_> = probe
        .events()
        .await
        .into_iter()
        .filter(|event| event.topic == "operations")
        .collect();
    operations.truncate(6);
    assert!(
        operations
            .iter()
            .all(|event| event.data["total_items"].is_null()),
        "the total is unknown until the end"
    );
}

#[tokio::test]
async fn rsync_is_reported_as_it_goes() {
    let probe = Probe::new().await;
    let (source, target) = (source_folder(), target_folder());
    let binaries = probe.client_program("psql").await;
    let path = std::env::join_paths(binaries.parent().into_iter().map(Path::to_owned).chain(
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()),
    ))
    .expect("a search path");
    let rsync = |option: &str| {
        let mut command = Command::new("python3");
        command
            .arg(example("rsync").join("rsync-report.py"))
            .arg(source.path().join(""))
            .arg(target.path())
            .args(["--checksum", option])
            .env("PATH", &path)
            .env("DATABASE_URL", probe.database.url());
        command
    };
    // Following links, it meets the one that leads nowhere, and then deletes nothing.
    let said = run_refused(&mut rsync("--copy-links")).await;
    assert!(said.contains("symlink has no referent"), "{said}");
    assert_same_files(source.path(), target.path());
    let columns = "status, progress, total_items = processed_items AS everything, inserted_items, updated_items, deleted_items, failed_items, error";
    let mut failed = operation(&probe, columns).await;
    let error = failed
        .as_object_mut()
        .and_then(|row| row.remove("error"))
        .expect("an error");
    assert!(
        error
            .as_str()
            .is_some_and(|text| text.contains("(code 23)")),
        "{error}"
    );
    let expected = json!({"status": "failed", "progress": 100, "everything": true, "inserted_items": 2, "updated_items": 1,
        "deleted_items": 0, "failed_items": 1});
    assert_eq!(failed, expected);
    let item = probe.text("SELECT item FROM sync_operation_errors").await;
    assert_eq!(Path::new(&item).file_name(), Some("dangling.txt".as_ref()));
    probe.forget_events().await;
    run(&mut rsync("--delete")).await;
    assert!(!target.path().join("gone.txt").exists());
    let expected = json!({"status": "completed", "progress": 100, "everything": true, "inserted_items": 1, "updated_items": 0,
        "deleted_items": 1, "failed_items": 0, "error": null});
    assert_eq!(
        operation(&probe, columns).await,
        expected,
        "the link itself is new"
    );
    let kinds = probe.kinds().await;
    assert_eq!(kinds.first().map(String::as_str), Some("operation.created"));
    assert_eq!(
        kinds.last().map(String::as_str),
        Some("operation.completed")
    );

    fs::write(source.path().join(ODD_NAME), "changed").expect("a change");
    run(&mut rsync("--delete")).await;
    let expected = json!({"current_item": ODD_NAME, "inserted_items": 0, "updated_items": 1});
    assert_eq!(
        operation(&probe, "current_item, inserted_items, updated_items").await,
        expected
    );
}

#[tokio::test]
async fn a_writer_that_is_called_wrongly_says_how_it_is_called() {
    let python = python().await;
    for script in [
        "python-psycopg/mirror.py",
        "python-sqlalchemy/checksums.py",
        "rsync/rsync-report.py",
    ] {
        let said = run_refused(
            Command::new(&python)
                .arg(example(script))
                .env_remove("DATABASE_URL"),
        )
        .await;
        assert!(said.contains("usage: "), "{script}: {said}");
    }
}
