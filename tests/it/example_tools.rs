//! What the examples need of their languages: found on the machine, or installed once into the build's scratch folder by
//! the language's own client.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Output,
};

use sha2::{Digest, Sha256};
use tokio::process::Command;

/// A file or folder of `examples/`.
pub(crate) fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(path)
}

/// Runs a program that must succeed, and returns what it wrote.
pub(crate) async fn run(command: &mut Command) -> String {
    let output = output(command).await;
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Runs a program that must fail, and returns what it complained of.
pub(crate) async fn run_refused(command: &mut Command) -> String {
    let output = output(command).await;
    assert!(
        !output.status.success(),
        "{command:?} succeeded:\n{}",
        text(&output.stdout)
    );
    text(&output.stderr)
}

/// A Python with what the Python examples need.
pub(crate) async fn python() -> PathBuf {
    let requirements =
        ["python-psycopg", "python-sqlalchemy"].map(|name| example(name).join("requirements.txt"));
    let folder = install("python", &requirements, async |folder| {
        let advice = "the Python examples need Python 3.11 or newer with venv; on Debian: apt-get install python3-venv";
        install_with(Command::new("python3").args(["-m", "venv"]).arg(folder), advice).await;
        let mut pip = Command::new(folder.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check"]);
        for file in &requirements {
            pip.arg("--requirement").arg(file);
        }
        install_with(&mut pip, "pip could not install what the Python examples need").await;
    })
    .await;
    folder.join("bin/python")
}

/// The modules that the Node example needs.
pub(crate) async fn node_modules() -> PathBuf {
    let lists = ["package.json", "package-lock.json"].map(|name| example("node-pg").join(name));
    let folder = install("node", &lists, async |folder| {
        fs::create_dir(folder).expect("a folder");
        for list in &lists {
            fs::copy(list, folder.join(list.file_name().expect("a name"))).expect("a copy");
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(folder);
        install_with(&mut npm, "the Node example needs Node 20 or newer with npm; on Debian: apt-get install nodejs npm").await;
    })
    .await;
    folder.join("node_modules")
}

/// Installs into a folder that is named after what is asked for, unless that has been done; one test process at a time.
async fn install(language: &str, lists: &[PathBuf], fill: impl AsyncFnOnce(&Path)) -> PathBuf {
    let mut hash = Sha256::new();
    for list in lists {
        hash.update(fs::read(list).unwrap_or_else(|error| panic!("{}: {error}", list.display())));
    }
    let name = format!("{language}-{:.16}", format!("{:x}", hash.finalize()));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let (lock, ready) = (
        folder.with_extension("lock"),
        folder.with_extension("ready"),
    );
    let lock = File::create(&lock).expect("a lock file");
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock));
    let lock = lock.await.expect("no panic").expect("the lock");
    if !ready.exists() {
        // What an installation that was interrupted has left.
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("an empty place");
        }
        fill(&folder).await;
        File::create(&ready).expect("a mark");
    }
    drop(lock);
    folder
}

async fn install_with(command: &mut Command, advice: &str) {
    let output = output(command).await;
    assert!(
        output.status.success(),
        "{advice}\n{command:?}: {}\n{}",
        output.status,
        text(&output.stderr)
    );
}

async fn output(command: &mut Command) -> Output {
    // Nothing is left behind in the folders of the examples.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    let result = command.kill_on_drop(true).output().await;
    result.unwrap_or_else(|error| panic!("{command:?} could not be started: {error}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
