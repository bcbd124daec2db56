//! Makes a new cluster in a data folder.

use std::{fs, io, path::Path, process::Command};

use super::{
    EmbeddedError, EmbeddedOptions, NAME, account::Account, binaries::Binaries, folder::DataFolder,
};

/// The locales to try in turn: UTF-8 rules that are the same everywhere, or the bytes themselves.
const LOCALES: [&str; 2] = ["C.UTF-8", "C"];

/// Makes the cluster under another name first, so that one that was interrupted is never taken for whole.
pub(super) async fn initdb(
    folder: &DataFolder,
    binaries: &Binaries,
    account: &Account,
    options: &EmbeddedOptions,
) -> Result<(), EmbeddedError> {
    folder.make_password()?;
    account.own(folder.root())?;
    let unfinished = folder.root().join("cluster.unfinished");
    let mut result = Ok(());
    for locale in LOCALES {
        remove(&unfinished)?;
        let mut command = Command::new(binaries.program("initdb"));
        command
            .arg("--pgdata")
            .arg(&unfinished)
            .arg("--pwfile")
            .arg(folder.password_file())
            .args(["--username", NAME, "--auth", "scram-sha-256"])
            .args(["--encoding", "UTF8", "--locale", locale]);
        if !options.durable {
            command.arg("--no-sync");
        }
        prepare(&mut command, folder, account);
        result = run(command, binaries).await;
        if result.is_ok() {
            break;
        }
    }
    result?;
    fs::rename(&unfinished, folder.cluster()).map_err(EmbeddedError::file("rename", unfinished))
}

/// What all of PostgreSQL's programs are given: the account, a folder that it may enter, and a clean environment.
pub(super) fn prepare(command: &mut Command, folder: &DataFolder, account: &Account) {
    account.apply(command);
    command.current_dir(folder.root()).env("LC_ALL", "C");
    for (name, _) in std::env::vars_os() {
        // PGPORT, PGDATA and their like would be taken for settings of this server.
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
}

async fn run(command: Command, binaries: &Binaries) -> Result<(), EmbeddedError> {
    let output = tokio::process::Command::from(command)
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|source| EmbeddedError::Program {
            program: binaries.program("initdb"),
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(EmbeddedError::Initdb {
        status: output.status,
        output: String::from_utf8_lossy(&said).trim().to_owned(),
    })
}

fn remove(folder: &Path) -> Result<(), EmbeddedError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(EmbeddedError::file("remove", folder)(error))
        }
        _ => Ok(()),
    }
}
