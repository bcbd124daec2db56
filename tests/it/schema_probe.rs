//! What the tests of the SQL schema look through: one application's session, what it is refused, what the log holds.

use std::{
    ops::Deref,
    path::{Path, PathBuf},
};

use futures::{Stream, StreamExt, stream};
use serde_json::Value;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};

use crate::support::{TestDatabase, chain};

/// The SQLSTATE of a broken rule.
pub(crate) const CHECK_VIOLATION: &str = "23514";
/// The SQLSTATE of a missing value.
pub(crate) const NOT_NULL_VIOLATION: &str = "23502";

const JOB: &str = "00000000-0000-4000-8000-000000000001";

/// A migrated database and an application's session on it. Dereferences to the session.
pub(crate) struct Probe {
    pub(crate) database: TestDatabase,
    session: Session,
}

impl Probe {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::new().await;
        let session = Session(database.client().await);
        Self { database, session }
    }

    /// Another session.
    pub(crate) async fn another(&self) -> Session {
        Session(self.database.client().await)
    }

    /// A client program of the server that the tests use, as that is not always on the PATH.
    pub(crate) async fn client_program(&self, name: &str) -> PathBuf {
        let folder = self
            .text("SELECT setting FROM pg_config WHERE name = 'BINDIR'")
            .await;
        let beside_the_server = Path::new(&folder).join(name);
        if beside_the_server.exists() {
            beside_the_server
        } else {
            PathBuf::from(name)
        }
    }

    /// A new role that can log in, and the statements that its rights are granted by; `{role}` stands for its name.
    /// Roles are not of one database, so it goes with [`Probe::drop_role`].
    pub(crate) async fn new_role(&self, grants: &str) -> String {
        let role = format!("role_of_{}", self.database.name());
        self.run(&format!("CREATE ROLE {role} LOGIN PASSWORD '{role}'"))
            .await;
        self.run(&grants.replace("{role}", &role)).await;
        role
    }

    /// Removes a role and what it was granted here.
    pub(crate) async fn drop_role(&self, role: &str) {
        self.run(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"))
            .await;
    }

    /// A session of a role that [`Probe::new_role`] made.
    pub(crate) async fn session_of(&self, role: &str) -> Session {
        let mut config: Config = self.database.url().parse().expect("a valid URL");
        config.user(role).password(role);
        let (client, connection) = config.connect(NoTls).await.expect("a session of the role");
        tokio::spawn(connection);
        Session(client)
    }
}

impl Deref for Probe {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

/// A session that knows nothing of bellwether: plain SQL in, text and JSON out.
pub(crate) struct Session(pub(crate) Client);

/// An error as an application gets it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) sqlstate: String,
    pub(crate) constraint: String,
    pub(crate) column: String,
    pub(crate) message: String,
}

/// An event of the log, by what most tests look at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoggedEvent {
    pub(crate) topic: String,
    pub(crate) kind: String,
    pub(crate) entity: String,
    pub(crate) revision: i64,
    pub(crate) changed_from: Value,
    pub(crate) data: Value,
}

impl Session {
    /// Runs statements that must succeed.
    pub(crate) async fn run(&self, statements: &str) {
        let result = self.0.batch_execute(statements).await;
        result.unwrap_or_else(|error| panic!("{statements}: {}", chain(&error)));
    }

    /// The one value that a query returns, as JSON.
    pub(crate) async fn json(&self, query: &str) -> Value {
        let wrapped = format!("SELECT to_jsonb(answer) FROM ({query}) AS answer");
        let rows = self.0.query(&wrapped, &[]).await;
        let rows = rows.unwrap_or_else(|error| panic!("{query}: {}", chain(&error)));
        assert_eq!(rows.len(), 1, "rows of {query}");
        rows[0].get(0)
    }

    /// The one value of the one column that a query returns, as text; "null" for none.
    pub(crate) async fn text(&self, query: &str) -> String {
        let row = self.json(query).await;
        let columns = row.as_object().expect("a row");
        assert_eq!(columns.len(), 1, "columns of {query}");
        match columns.values().next().expect("a column") {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        }
    }

    /// Fails unless the query returns true, and shows the operations.
    pub(crate) async fn holds(&self, query: &str) {
        if self.text(query).await != "true" {
            let rows = self
                .json("SELECT jsonb_agg(o) FROM sync_operations o")
                .await;
            panic!("does not hold: {query}\n{rows:#}");
        }
    }

    /// The error that a statement gets.
    pub(crate) async fn refusal(&self, statement: &str) -> Refusal {
        let Err(error) = self.0.batch_execute(statement).await else {
            panic!("not refused: {statement}");
        };
        let error = error.as_db_error().expect("an answer of the database");
        Refusal {
            sqlstate: error.code().code().to_owned(),
            constraint: error.constraint().unwrap_or_default().to_owned(),
            column: error.column().unwrap_or_default().to_owned(),
            message: error.message().to_owned(),
        }
    }

    /// The log, in order.
    pub(crate) async fn events(&self) -> Vec<LoggedEvent> {
        let query = "SELECT topic, type, entity, revision, changed_from, coalesce(payload, bellwether.row_in_utc(operation))
                     FROM bellwether.event ORDER BY id";
        let rows = self.0.query(query, &[]).await.expect("the log");
        let events = rows.iter().map(|row| LoggedEvent {
            topic: row.get(0),
            kind: row.get(1),
            entity: row.get(2),
            revision: row.get(3),
            changed_from: row.get::<_, Option<Value>>(4).unwrap_or_default(),
            data: row.get(5),
        });
        events.collect()
    }

    /// The types of the events in the log, in order.
    pub(crate) async fn kinds(&self) -> Vec<String> {
        self.events()
            .await
            .into_iter()
            .map(|event| event.kind)
            .collect()
    }

    /// Empties the log, so that a test can look at what comes after its preparations.
    pub(crate) async fn forget_events(&self) {
        self.run("DELETE FROM bellwether.event").await;
    }
}

/// A statement that must be refused by a rule with this name, which begins with the table's and says the column.
pub(crate) async fn assert_refused(session: &Session, statement: &str, rule: &str) {
    let refusal = session.refusal(statement).await;
    assert_eq!(
        (refusal.sqlstate.as_str(), refusal.constraint.as_str()),
        (CHECK_VIOLATION, rule),
        "{statement}"
    );
    assert!(
        refusal.message.contains(rule) || rule.contains(&refusal.column),
        "{statement}: {}",
        refusal.message
    );
}

/// Inserts the one operation of a test, in progress with 200 items to do.
pub(crate) async fn start_job(session: &Session) {
    session
        .run(&format!(
            "INSERT INTO sync_operations (id, operation_type, status, total_items) VALUES ('{JOB}', 'upload', 'in_progress', 200)"
        ))
        .await;
}

/// Moves what the database remembers of the operation into the past, as no application can.
pub(crate) async fn let_time_pass(session: &Session, time: &str) {
    session
        .run(&format!(
            "SET session_replication_role = replica;
             UPDATE sync_operations SET started_at = started_at - interval '{time}', created_at = created_at - interval '{time}',
                 updated_at = updated_at - interval '{time}', heartbeat_at = heartbeat_at - interval '{time}',
                 progressed_at = progressed_at - interval '{time}';
             RESET session_replication_role;"
        ))
        .await;
}

/// Remembers the row under a name, so that the next one can be compared with it.
pub(crate) async fn remember(session: &Session, name: &str) {
    session
        .run(&format!(
            "CREATE TEMP TABLE {name} AS SELECT * FROM sync_operations"
        ))
        .await;
}

/// Moves the last sign of life of an owner's operations into the past, as no application can.
pub(crate) async fn fall_silent(session: &Session, owner: &str, time: &str) {
    session
        .run(&format!(
            "SET session_replication_role = replica;
             UPDATE sync_operations SET heartbeat_at = heartbeat_at - interval '{time}' WHERE owner = '{owner}';
             RESET session_replication_role;"
        ))
        .await;
}

/// Takes a health snapshot.
pub(crate) async fn snapshot(session: &Session) -> Value {
    session
        .json("SELECT * FROM create_sync_status_snapshot()")
        .await
}

/// The revisions of some events, in the order of the log.
pub(crate) fn revisions(events: &[LoggedEvent]) -> Vec<i64> {
    events.iter().map(|event| event.revision).collect()
}

/// Somebody who listens to the doorbell.
pub(crate) struct Bell {
    client: Client,
    /// Who rang, and what.
    messages: std::pin::Pin<Box<dyn Stream<Item = (i32, String)> + Send>>,
}

impl Bell {
    /// Begins to listen.
    pub(crate) async fn new(database: &TestDatabase) -> Self {
        let (client, mut connection) = tokio_postgres::connect(&database.url(), NoTls)
            .await
            .expect("a listening session");
        let messages = stream::poll_fn(move |context| connection.poll_message(context));
        let (sender, receiver) = futures::channel::mpsc::unbounded();
        tokio::spawn(messages.for_each(move |message| {
            if let Ok(AsyncMessage::Notification(notification)) = message {
                // Nobody may be waiting any more: the test has ended.
                let text = format!("{}:{}", notification.channel(), notification.payload());
                let _ = sender.unbounded_send((notification.process_id(), text));
            }
            std::future::ready(())
        }));
        client
            .batch_execute("LISTEN bellwether; LISTEN sentinel")
            .await
            .expect("listening");
        Self {
            client,
            messages: Box::pin(receiver),
        }
    }

    /// How often it rang since the last time this was asked.
    pub(crate) async fn rings(&mut self) -> usize {
        let heard = self.heard().await;
        let carries_nothing = |(_, text): &(i32, String)| text == "bellwether:";
        assert!(heard.iter().all(carries_nothing), "{heard:?}");
        heard.len()
    }

    /// How often the session of this server process rang since the last time anything was asked, whoever else did.
    pub(crate) async fn rings_of(&mut self, process: i32) -> usize {
        let heard = self.heard().await;
        heard.iter().filter(|(who, _)| *who == process).count()
    }

    /// Notifications come in the order of commits, so when one that is sent now has arrived, all earlier ones have.
    async fn heard(&mut self) -> Vec<(i32, String)> {
        self.client
            .batch_execute("NOTIFY sentinel")
            .await
            .expect("a sentinel");
        let mut heard = Vec::new();
        loop {
            let message = self.messages.next().await.expect("an open connection");
            if message.1 == "sentinel:" {
                return heard;
            }
            heard.push(message);
        }
    }
}
