//! A database for one test.

use std::{str::FromStr, sync::Arc};

use bellwether::postgres::{
    self, DatabaseConfig,
    schema::{FUNCTIONS, MIGRATIONS},
};
use sha2::{Digest, Sha256};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use super::shared_server::SharedServer;

/// Held while the template is made, on the database that the server's URL names.
const TEMPLATE_LOCK: i64 = 0x74_656d_706c_6174;

/// A database that nobody else uses; dropped with this value, whoever is still connected.
pub(crate) struct TestDatabase {
    name: String,
    server: Arc<SharedServer>,
}

impl TestDatabase {
    /// A migrated database.
    pub(crate) async fn new() -> Self {
        let server = SharedServer::get().await;
        let administrator = connect_as_application(&server.url).await;
        let template = ensure_template(&administrator, &server).await;
        Self::create(&administrator, server, &template).await
    }

    /// A database without a schema.
    pub(crate) async fn empty() -> Self {
        let server = SharedServer::get().await;
        let administrator = connect_as_application(&server.url).await;
        Self::create(&administrator, server, "template0").await
    }

    async fn create(administrator: &Client, server: Arc<SharedServer>, template: &str) -> Self {
        let name = format!("test_{}", Uuid::new_v4().simple());
        administrator
            .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}"))
            .await
            .expect("a new database");
        Self { name, server }
    }

    /// The database's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A URL for anybody.
    pub(crate) fn url(&self) -> String {
        url_of(&self.server.url, &self.name)
    }

    /// How a relay connects.
    pub(crate) fn config(&self) -> DatabaseConfig {
        DatabaseConfig::from_str(&self.url()).expect("a valid URL")
    }

    /// A session as an application has it, with the server's own settings.
    pub(crate) async fn client(&self) -> Client {
        connect_as_application(&self.url()).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let url = self.server.url.clone();
        let statement = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        // The test's own runtime may be ending; and it cannot be waited on from here.
        let dropping = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(async {
                    let administrator = connect_as_application(&url).await;
                    administrator.batch_execute(&statement).await
                })
                .map_err(std::io::Error::other)
        });
        if let Ok(Err(error)) = dropping.join() {
            eprintln!("database {} stays: {error}", self.name);
        }
    }
}

/// Connects without any setting of ours, and drives the connection in the background.
pub(crate) async fn connect_as_application(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .unwrap_or_else(|error| panic!("no connection: {}", super::chain(&error)));
    tokio::spawn(connection);
    client
}

/// The same server, another database.
pub(crate) fn url_of(url: &str, database: &str) -> String {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let (server, _) = address.rsplit_once('/').expect("a database in the URL");
    format!("{server}/{database}?{query}")
}

/// Makes the migrated database that tests copy, unless another test process has. It is named by what was applied, so a
/// server that stays up never hands out an old schema.
async fn ensure_template(administrator: &Client, server: &SharedServer) -> String {
    let name = format!("template_{}", schema_fingerprint());
    if template_is_ready(administrator, &name).await {
        return name;
    }
    let lock = format!("SELECT pg_advisory_lock({TEMPLATE_LOCK})");
    administrator.batch_execute(&lock).await.expect("the lock");
    if !template_is_ready(administrator, &name).await {
        for statement in [
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            format!("CREATE DATABASE {name} TEMPLATE template0"),
        ] {
            administrator
                .batch_execute(&statement)
                .await
                .expect("a template");
        }
        let config = DatabaseConfig::from_str(&url_of(&server.url, &name)).expect("a valid URL");
        postgres::migrate(&config)
            .await
            .unwrap_or_else(|error| panic!("no schema: {}", super::chain(&error)));
        let ready = format!("ALTER DATABASE {name} IS_TEMPLATE true ALLOW_CONNECTIONS false");
        administrator
            .batch_execute(&ready)
            .await
            .expect("a template");
    }
    let unlock = format!("SELECT pg_advisory_unlock({TEMPLATE_LOCK})");
    administrator
        .batch_execute(&unlock)
        .await
        .expect("the lock");
    name
}

async fn template_is_ready(administrator: &Client, name: &str) -> bool {
    administrator
        .query_one(
            "SELECT count(*) > 0 FROM pg_database WHERE datname = $1 AND datistemplate",
            &[&name],
        )
        .await
        .expect("the list of databases")
        .get(0)
}

fn schema_fingerprint() -> String {
    let mut hash = Sha256::new();
    for migration in MIGRATIONS {
        hash.update(migration.checksum());
    }
    for function in FUNCTIONS {
        hash.update(function.checksum());
    }
    format!("{:x}", hash.finalize())[..16].to_owned()
}
