//! The server that many tests share.

use std::{
    env,
    sync::{Arc, Weak},
};

use bellwether::postgres::EmbeddedPostgres;
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::server_options;

/// The variable in which `make test` names its server.
const URL_VARIABLE: &str = "BELLWETHER_TEST_DATABASE_URL";

/// The server of this process, as long as a test uses it: a static would never be dropped, and its folder stay behind.
static OWN: Mutex<Weak<SharedServer>> = Mutex::const_new(Weak::new());

/// A server that outlives a single test.
pub(crate) struct SharedServer {
    /// A URL with a database that exists.
    pub(crate) url: String,
    /// Ended in this order: first the server, then its folder.
    _own: Option<(EmbeddedPostgres, TempDir)>,
}

impl SharedServer {
    /// The server that the environment names, else the one of this process.
    pub(crate) async fn get() -> Arc<Self> {
        if let Ok(url) = env::var(URL_VARIABLE) {
            return Arc::new(Self { url, _own: None });
        }
        let mut own = OWN.lock().await;
        if let Some(server) = own.upgrade() {
            return server;
        }
        let folder = TempDir::new().expect("a temporary folder");
        let postgres = EmbeddedPostgres::start(folder.path(), server_options())
            .await
            .expect("a server for this test process");
        let server = Arc::new(Self {
            url: postgres.url(),
            _own: Some((postgres, folder)),
        });
        *own = Arc::downgrade(&server);
        server
    }
}
