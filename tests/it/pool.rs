//! Sessions: how they are set up, and how dead or hanging ones are got rid of.

use std::{str::FromStr, time::Duration};

use bellwether::postgres::{ConnectError, DatabaseConfig, pool::APPLICATION_NAME};
use tokio::net::TcpListener;
use tokio_postgres::Client;

use crate::support::{TestDatabase, chain};

async fn connect(config: &DatabaseConfig) -> Client {
    let (client, connection) = config
        .connect("a test")
        .await
        .unwrap_or_else(|error| panic!("no session: {}", chain(&error)));
    tokio::spawn(connection);
    client
}

async fn setting(client: &Client, name: &str) -> String {
    client
        .query_one("SELECT pg_catalog.current_setting($1)", &[&name])
        .await
        .expect("a setting")
        .get(0)
}

/// The address of a server that accepts connections and never says a word.
async fn mute_server() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    (listener, address)
}

/// The same connection string with another server before the real one.
fn with_server_before(database: &TestDatabase, address: &str) -> DatabaseConfig {
    let url = database
        .url()
        .replace("@127.0.0.1:", &format!("@{address},127.0.0.1:"));
    DatabaseConfig::from_str(&format!("{url}&connect_timeout=5")).expect("a valid URL")
}

#[tokio::test]
async fn a_session_does_not_depend_on_how_the_database_is_set_up() {
    let database = TestDatabase::new().await;
    let name = database.name();
    database
        .client()
        .await
        .batch_execute(&format!(
            "ALTER DATABASE {name} SET TimeZone = 'Asia/Kathmandu';
             ALTER DATABASE {name} SET IntervalStyle = 'sql_standard';
             ALTER DATABASE {name} SET DateStyle = 'German';
             ALTER DATABASE {name} SET search_path = 'public';
             ALTER DATABASE {name} SET default_transaction_isolation = 'serializable';
             ALTER DATABASE {name} SET statement_timeout = '1h'"
        ))
        .await
        .expect("other settings");
    let session = connect(&database.config()).await;
    for (name, expected) in [
        ("TimeZone", "UTC"),
        ("IntervalStyle", "iso_8601"),
        ("DateStyle", "ISO, DMY"),
        ("search_path", "\"\""),
        ("default_transaction_isolation", "read committed"),
        ("max_parallel_workers_per_gather", "0"),
        ("application_name", "a test"),
        ("statement_timeout", "1h"),
    ] {
        assert_eq!(setting(&session, name).await, expected, "{name}");
    }
}

#[tokio::test]
async fn statements_are_limited_where_the_caller_asks() {
    let database = TestDatabase::new().await;
    let config = database
        .config()
        .with_statement_timeout(Duration::from_millis(1500));
    assert_eq!(
        setting(&connect(&config).await, "statement_timeout").await,
        "1500ms"
    );
    let pool = config.pool(1);
    let pooled = pool.get().await.expect("a session");
    assert_eq!(setting(&pooled, "statement_timeout").await, "1500ms");
    assert_eq!(setting(&pooled, "application_name").await, APPLICATION_NAME);
    assert_eq!(setting(&pooled, "TimeZone").await, "UTC");
}

#[tokio::test]
async fn a_pooled_session_that_was_ended_by_the_server_is_replaced() {
    let database = TestDatabase::new().await;
    let pool = database.config().pool(1);
    let backend = async || -> i32 {
        let session = pool.get().await.expect("a session");
        let row = session
            .query_one("SELECT pg_catalog.pg_backend_pid()", &[])
            .await;
        row.expect("a process id").get(0)
    };
    let first = backend().await;
    assert_eq!(backend().await, first);
    database
        .client()
        .await
        .execute("SELECT pg_terminate_backend($1, 10000)", &[&first])
        .await
        .expect("its end");
    assert_ne!(backend().await, first);
}

#[tokio::test]
async fn a_pooled_session_that_still_works_on_an_abandoned_statement_is_not_handed_out() {
    let database = TestDatabase::new().await;
    let pool = database.config().pool(1);
    let session = pool.get().await.expect("a session");
    let statement = session.batch_execute("SELECT pg_catalog.pg_sleep(3600)");
    // Polled once, so that it is sent, and then left alone.
    assert!(futures::poll!(std::pin::pin!(statement)).is_pending());
    drop(session);
    let session = pool.get().await.expect("another session");
    session.batch_execute("SELECT 1").await.expect("an answer");
}

#[tokio::test]
async fn a_host_that_never_answers_does_not_keep_the_next_from_its_try() {
    let database = TestDatabase::new().await;
    let (_listener, mute) = mute_server().await;
    let config = with_server_before(&database, &mute);
    assert_eq!(setting(&connect(&config).await, "TimeZone").await, "UTC");
    drop(config.pool(1).get().await.expect("a session"));
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let (_listener, mute) = mute_server().await;
    let url = format!("postgres://me:secret@{mute}/db?connect_timeout=1");
    let config = DatabaseConfig::from_str(&url).expect("a valid URL");
    let error = config
        .connect("a test")
        .await
        .map(drop)
        .expect_err("no answer");
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error}");
    assert!(error.to_string().contains(&mute), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
    assert!(config.pool(1).get().await.is_err());
}

#[tokio::test]
async fn a_server_that_cannot_be_written_is_passed_over_where_writing_is_asked_for() {
    let database = TestDatabase::new().await;
    let name = database.name();
    database
        .client()
        .await
        .batch_execute(&format!(
            "ALTER DATABASE {name} SET default_transaction_read_only = on"
        ))
        .await
        .expect("a read-only database");
    let url = format!("{}&target_session_attrs=read-write", database.url());
    let config = DatabaseConfig::from_str(&url).expect("a valid URL");
    let error = config
        .connect("a test")
        .await
        .map(drop)
        .expect_err("read only");
    assert!(
        chain(&error).contains("does not allow writes"),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn a_wrong_password_is_told_in_the_servers_words() {
    let database = TestDatabase::new().await;
    let url = database.url().replace("bellwether:", "bellwether:not-");
    let config = DatabaseConfig::from_str(&url).expect("a valid URL");
    let error = config
        .connect("a test")
        .await
        .map(drop)
        .expect_err("a wrong password");
    assert!(
        chain(&error).contains("password authentication failed"),
        "{}",
        chain(&error)
    );
}
