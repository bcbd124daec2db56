//! What each `sslmode` accepts and refuses, against a real server.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf, str::FromStr};

use bellwether::postgres::DatabaseConfig;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use crate::support::{PrivateServer, TestDatabase, chain, eventually};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    let name = format!("root {}", uuid::Uuid::new_v4());
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("a root certificate")
}

/// A server with a certificate for `host`, signed by a root of its own.
struct TlsServer {
    server: PrivateServer,
    authority: Issuer,
    files: TempDir,
}

impl TlsServer {
    async fn start(host: &str) -> Self {
        let server = PrivateServer::start().await;
        let authority = authority();
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new([host.to_owned()])
            .and_then(|params| params.signed_by(&key, &authority))
            .expect("a certificate");
        let this = Self {
            server,
            authority,
            files: TempDir::new().expect("a folder"),
        };
        this.put_into_cluster("server.crt", &certificate.pem());
        this.put_into_cluster("server.key", &key.serialize_pem());
        this.put_into_cluster("client_roots.crt", &this.authority.pem());
        for statement in [
            "ALTER SYSTEM SET ssl_ca_file = 'client_roots.crt'",
            "ALTER SYSTEM SET ssl = on",
            "SELECT pg_reload_conf()",
        ] {
            let client = this.server.client().await;
            client
                .batch_execute(statement)
                .await
                .expect("TLS switched on");
        }
        eventually("the server speaks TLS", async || {
            this.connects("sslmode=require").await.is_ok()
        })
        .await;
        this
    }

    /// Writes a file as the server's own.
    fn put_into_cluster(&self, name: &str, text: &str) {
        let cluster = self.server.folder().join("cluster");
        let owner = fs::metadata(&cluster).expect("the cluster");
        let path = cluster.join(name);
        fs::write(&path, text).expect("a file");
        std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).expect("its owner");
        let only_for_the_owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&path, only_for_the_owner).expect("its rights");
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.files.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    }

    fn roots(&self) -> String {
        let path = self.file("roots.crt", &self.authority.pem());
        format!("sslrootcert={}", path.display())
    }

    /// Connects with these settings; tells whether the session is encrypted, or why there is none.
    async fn connects(&self, settings: &str) -> Result<bool, String> {
        let url = self.server.url().replace("sslmode=disable", settings);
        let config = DatabaseConfig::from_str(&url).map_err(|error| chain(&error))?;
        let (client, connection) = config
            .connect("a test")
            .await
            .map_err(|error| chain(&error))?;
        tokio::spawn(connection);
        let encrypted =
            "SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()";
        let row = client
            .query_one(encrypted, &[])
            .await
            .map_err(|error| chain(&error))?;
        Ok(row.get(0))
    }
}

#[tokio::test]
async fn each_mode_checks_what_it_promises() {
    let right = TlsServer::start("127.0.0.1").await;
    let roots = right.roots();
    let other = right.file("other.crt", &authority().pem());
    let other = format!("sslrootcert={}", other.display());

    assert_eq!(right.connects("sslmode=disable").await, Ok(false));
    for settings in [
        "sslmode=prefer",
        "sslmode=allow",
        "sslmode=require",
        "ssl=true",
    ] {
        assert_eq!(right.connects(settings).await, Ok(true), "{settings}");
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        assert_eq!(
            right.connects(&format!("sslmode={mode}&{roots}")).await,
            Ok(true),
            "{mode}"
        );
        let error = right.connects(&format!("sslmode={mode}&{other}")).await;
        assert!(
            error
                .as_ref()
                .is_err_and(|text| text.contains("UnknownIssuer")),
            "{mode}: {error:?}"
        );
    }
    let error = right
        .connects("sslmode=verify-full&sslrootcert=system")
        .await;
    assert!(error.is_err(), "a private root is not one of the system's");
}

#[tokio::test]
async fn only_verify_full_minds_the_name_of_the_host() {
    let wrong = TlsServer::start("elsewhere.example").await;
    let roots = wrong.roots();
    assert_eq!(
        wrong.connects(&format!("sslmode=verify-ca&{roots}")).await,
        Ok(true)
    );
    let error = wrong
        .connects(&format!("sslmode=verify-full&{roots}"))
        .await;
    assert!(
        error
            .as_ref()
            .is_err_and(|text| text.contains("not valid for name")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_client_may_have_to_show_a_certificate_of_its_own() {
    let server = TlsServer::start("127.0.0.1").await;
    server.put_into_cluster(
        "pg_hba.conf",
        "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n",
    );
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(["bellwether".to_owned()])
        .and_then(|params| params.signed_by(&key, &server.authority))
        .expect("a certificate");
    let certificate = server.file("client.crt", &certificate.pem());
    let key = server.file("client.key", &key.serialize_pem());
    let identity = format!("sslcert={}&sslkey={}", certificate.display(), key.display());
    let reload = server.server.client().await;
    reload
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .expect("a reload");

    eventually("the server asks for a certificate", async || {
        server.connects("sslmode=require").await.is_err()
    })
    .await;
    assert_eq!(
        server
            .connects(&format!("sslmode=require&{identity}"))
            .await,
        Ok(true)
    );
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_asked_for() {
    let database = TestDatabase::new().await;
    let with = |mode: &str| {
        let url = database
            .url()
            .replace("sslmode=disable", &format!("sslmode={mode}"));
        DatabaseConfig::from_str(&url).expect("a valid URL")
    };
    with("prefer")
        .connect("a test")
        .await
        .map(drop)
        .expect("a session in the clear");
    for mode in ["require", "verify-ca", "verify-full"] {
        let error = with(mode)
            .connect("a test")
            .await
            .map(drop)
            .expect_err("no TLS");
        assert!(
            chain(&error).contains("does not support TLS"),
            "{mode}: {}",
            chain(&error)
        );
    }
}

#[tokio::test]
async fn a_file_that_is_no_certificate_is_refused_at_the_door() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("letter");
    fs::write(&path, "dear").expect("a file");
    let url = format!(
        "postgres://localhost/db?sslmode=verify-full&sslrootcert={}",
        path.display()
    );
    let error = DatabaseConfig::from_str(&url)
        .map(drop)
        .expect_err("no certificate");
    assert!(error.to_string().contains("sslrootcert"), "{error}");
    let error = DatabaseConfig::from_str("host=localhost sslcert=/nowhere").map(drop);
    let error = error.expect_err("half an identity");
    assert!(error.to_string().contains("sslkey"), "{error}");
}
