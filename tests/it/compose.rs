//! The files for containers say what the documentation and the binary say.

use std::{ffi::OsStr, fs, path::Path, str::FromStr};

use bellwether::{cli::Cli, postgres::DatabaseConfig};
use clap::CommandFactory;
use serde_json::{Value, json};

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect(name)
}

fn compose() -> Value {
    serde_norway::from_str(&read("docker-compose.yml")).expect("valid YAML")
}

#[test]
fn the_relay_waits_for_a_postgres_that_answers() {
    let services = &compose()["services"];
    let postgres = &services["postgres"];
    assert_eq!(postgres["image"], "postgres:17");
    assert_eq!(postgres["healthcheck"]["test"][1], "pg_isready");
    assert_eq!(
        services["relay"]["depends_on"]["postgres"]["condition"],
        "service_healthy"
    );
}

#[test]
fn the_relay_connects_as_the_user_that_postgres_makes() {
    let services = &compose()["services"];
    let made = &services["postgres"]["environment"];
    let url = services["relay"]["environment"]["DATABASE_URL"]
        .as_str()
        .expect("a URL");
    let password = made["POSTGRES_PASSWORD"].as_str().expect("a password");
    assert!(url.contains(&format!(":{password}@")), "{url}");

    let config = DatabaseConfig::from_str(&url.replace(password, "secret")).expect("a valid URL");
    assert_eq!(
        config.to_string(),
        "postgres://bellwether@postgres:5432/bellwether"
    );
    assert_eq!(made["POSTGRES_USER"], "bellwether");
    assert_eq!(made["POSTGRES_DB"], "bellwether");
}

#[test]
fn the_relay_is_reached_from_this_machine_only_and_data_is_kept() {
    let compose = compose();
    let services = &compose["services"];
    assert_eq!(
        services["relay"]["environment"]["BELLWETHER_LISTEN"],
        "0.0.0.0:8080"
    );
    assert_eq!(services["relay"]["ports"], json!(["127.0.0.1:8080:8080"]));
    assert_eq!(services["postgres"]["ports"], Value::Null);
    assert_eq!(
        services["postgres"]["volumes"],
        json!(["data:/var/lib/postgresql/data"])
    );
    assert!(
        compose["volumes"]
            .as_object()
            .expect("volumes")
            .contains_key("data")
    );
}

#[test]
fn the_relay_knows_the_settings_that_it_is_given() {
    let command = Cli::command();
    let serve = command.find_subcommand("serve").expect("a command");
    let known: Vec<_> = serve
        .get_arguments()
        .chain(command.get_arguments())
        .filter_map(|argument| argument.get_env())
        .collect();
    let compose = compose();
    let given = compose["services"]["relay"]["environment"]
        .as_object()
        .expect("settings");
    for name in given.keys() {
        assert!(known.contains(&OsStr::new(name)), "{name}");
    }
}

#[test]
fn the_image_runs_the_relay_as_an_ordinary_user() {
    let dockerfile = read("Dockerfile");
    let last = |instruction: &str| {
        dockerfile
            .lines()
            .filter_map(|line| line.strip_prefix(instruction))
            .next_back()
            .map(str::trim)
    };
    assert_eq!(last("USER "), Some("bellwether"));
    assert_eq!(last("EXPOSE "), Some("8080"));
    assert_eq!(last("ENTRYPOINT "), Some(r#"["bellwether"]"#));
    assert_eq!(last("CMD "), Some(r#"["serve"]"#));
}

#[test]
fn the_image_is_built_with_the_dashboard_of_this_very_tree() {
    let dockerfile = read("Dockerfile");
    let place = |line: &str| {
        let found = dockerfile.find(line);
        found.unwrap_or_else(|| panic!("{line}"))
    };
    let (copied, built) = (
        place("\nCOPY --from=dashboard /web/dist web/dist\n"),
        place("\nRUN cargo build --release"),
    );
    assert!(copied < built);
    let ignored = read(".dockerignore");
    assert!(
        ignored.lines().any(|line| line == "web/dist"),
        "not one that lies about"
    );
}
