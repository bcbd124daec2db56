//! What is compared: the same table on the same server with different triggers, each in a database of its own.

use bellwether::postgres::migrate;
use tokio_postgres::Client;

use super::Outcome;
use super::receiver::NAIVE_CHANNEL;
use super::relay::Relay;
use super::server::{Server, TEMPLATE};

/// How many operations the writers spread over.
pub(crate) const OPERATIONS: u32 = 2_000;
/// Operations after those, which only probes are written to.
pub(crate) const PROBED: u32 = 4;

/// One of what is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arm {
    /// What it is called in a table.
    pub(crate) name: &'static str,
    /// Its database.
    pub(crate) database: &'static str,
    /// What `bellwether.doorbell` is set to in the writers' sessions.
    pub(crate) doorbell: Option<&'static str>,
}

const fn arm(name: &'static str, database: &'static str, doorbell: Option<&'static str>) -> Arm {
    Arm {
        name,
        database,
        doorbell,
    }
}

/// The table with its indexes, all its rules as CHECK constraints, and no trigger: what people write by hand.
pub(crate) const PLAIN: Arm = arm("no triggers", "plain", None);
/// The same with only those of the rules that a report can break.
pub(crate) const BARE: Arm = arm("no triggers, few rules", "bare", None);
/// What people write by hand.
pub(crate) const NAIVE: Arm = arm("pg_notify a row", "naive", None);
/// Ours, with a relay and a subscriber; writers ring where no relay has promised to look often.
pub(crate) const OURS: Arm = arm("bellwether (adaptive)", "ours", None);
/// The same where each writer rings.
pub(crate) const LOUD: Arm = arm("bellwether, always", "ours", Some("always"));
/// The same where no writer rings.
pub(crate) const SILENT: Arm = arm("bellwether, never", "ours", Some("never"));
/// Only what derives columns.
pub(crate) const DERIVED: Arm = arm("derived columns", "derived", None);
/// And the log, without its index.
pub(crate) const UNINDEXED: Arm = arm("+ event log", "unindexed", Some("never"));
/// And the index; nobody reads.
pub(crate) const UNREAD: Arm = arm("+ its index", "unread", Some("never"));
/// And the doorbell; nobody hears it.
pub(crate) const UNHEARD: Arm = arm("+ doorbell", "unread", Some("always"));

const NO_TRIGGERS: &str = "DO $$ DECLARE t record; BEGIN
    FOR t IN SELECT tgname, tgrelid::regclass AS name FROM pg_trigger WHERE NOT tgisinternal AND tgparentid = 0 LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.name);
    END LOOP; END $$;";

/// Those of the rules that a report can break.
const FEW_RULES: &str = "ALTER TABLE public.sync_operations
    ADD CONSTRAINT progress_is_between_0_and_100 CHECK (progress >= 0 AND progress <= 100),
    ADD CONSTRAINT processed_items_is_not_negative CHECK (processed_items >= 0),
    ADD CONSTRAINT processed_items_is_not_above_total_items CHECK (processed_items <= total_items);";

/// The others.
const MORE_RULES: &str = "ALTER TABLE public.sync_operations
    ADD CONSTRAINT status_is_known CHECK (status IN ('pending', 'in_progress', 'paused', 'completed', 'failed', 'cancelled')),
    ADD CONSTRAINT completed_at_goes_with_status CHECK ((completed_at IS NOT NULL) = (status IN ('completed', 'failed', 'cancelled'))),
    ADD CONSTRAINT operation_type_is_not_empty CHECK (operation_type <> ''),
    ADD CONSTRAINT total_items_is_not_negative CHECK (total_items >= 0),
    ADD CONSTRAINT failed_items_is_not_negative CHECK (failed_items >= 0),
    ADD CONSTRAINT inserted_items_is_not_negative CHECK (inserted_items >= 0),
    ADD CONSTRAINT updated_items_is_not_negative CHECK (updated_items >= 0),
    ADD CONSTRAINT deleted_items_is_not_negative CHECK (deleted_items >= 0),
    ADD CONSTRAINT kept_items_is_not_negative CHECK (kept_items >= 0),
    ADD CONSTRAINT skipped_items_is_not_negative CHECK (skipped_items >= 0),
    ADD CONSTRAINT entities_encountered_is_an_object CHECK (jsonb_typeof(entities_encountered) = 'object'),
    ADD CONSTRAINT counters_is_an_object CHECK (jsonb_typeof(counters) = 'object'),
    ADD CONSTRAINT metadata_is_an_object CHECK (jsonb_typeof(metadata) = 'object'),
    ADD CONSTRAINT performance_data_is_an_object CHECK (jsonb_typeof(performance_data) = 'object'),
    ADD CONSTRAINT duration_is_plausible CHECK (duration_seconds BETWEEN 0 AND 1e12),
    ADD CONSTRAINT owner_is_short CHECK (octet_length(owner) <= 1024);";

const NO_CAPTURE: &str = "DO $$ DECLARE t record; BEGIN
    FOR t IN SELECT tgname, tgrelid::regclass AS name FROM pg_trigger
             WHERE NOT tgisinternal AND tgname LIKE 'bellwether\\_records\\_%' LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.name);
    END LOOP; END $$;";

/// The databases, and a relay on ours.
pub(crate) struct Stage {
    pub(crate) relay: Relay,
    pub(crate) server: Server,
}

impl Stage {
    /// Makes everything ready.
    pub(crate) async fn set() -> Outcome<Self> {
        let server = Server::start().await?;
        migrate(&server.config(TEMPLATE)?).await?;
        seed(&server).await?;
        let few = format!("{NO_TRIGGERS} {FEW_RULES}");
        let plain = format!("{few} {MORE_RULES}");
        let naive = format!(
            "{plain}
            CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN PERFORM pg_notify('{NAIVE_CHANNEL}', row_to_json(NEW)::text); RETURN NULL; END $$;
            CREATE TRIGGER tells AFTER INSERT OR UPDATE ON public.sync_operations
                FOR EACH ROW EXECUTE FUNCTION public.tell();"
        );
        let unindexed = "DROP INDEX bellwether.event_is_found_by_transaction";
        for (database, statements) in [
            (PLAIN.database, &*plain),
            (BARE.database, &few),
            (NAIVE.database, &naive),
            (OURS.database, ""),
            (DERIVED.database, NO_CAPTURE),
            (UNINDEXED.database, unindexed),
            (UNREAD.database, ""),
        ] {
            server.copy(database, statements).await?;
        }
        server
            .session(TEMPLATE)
            .await?
            .batch_execute("CHECKPOINT")
            .await?;
        let relay = Relay::start(&server.url(OURS.database))?;
        Ok(Self { relay, server })
    }

    /// Takes everything down in order.
    pub(crate) async fn strike(self) {
        drop(self.relay);
        self.server.stop().await;
    }
}

/// Fills the template: operations in progress, some of them for probes.
async fn seed(server: &Server) -> Outcome<()> {
    let session = server.session(TEMPLATE).await?;
    insert(&session, 1, OPERATIONS).await?;
    seed_probes(&session).await
}

/// Inserts the operations that probes are written to.
pub(crate) async fn seed_probes(session: &Client) -> Outcome<()> {
    insert(session, OPERATIONS + 1, OPERATIONS + PROBED).await
}

async fn insert(session: &Client, first: u32, last: u32) -> Outcome<()> {
    let rows = format!(
        "INSERT INTO public.sync_operations (id, operation_type, status, total_items, owner, source, current_item)
        SELECT ('{ID_PREFIX}' || lpad(n::text, 12, '0'))::uuid, 'upload', 'in_progress', 1000000000, 'tenant ' || n % 50,
            'bench', 'invoices/2026/january/00' || n || '.pdf'
        FROM generate_series({first}, {last}) AS n"
    );
    session.batch_execute(&rows).await?;
    Ok(())
}

/// What the ids of the operations begin with; twelve decimal digits follow.
pub(crate) const ID_PREFIX: &str = "00000000-0000-4000-8000-";

/// The id of an operation, counted from 1.
pub(crate) fn operation_id(number: u32) -> String {
    format!("{ID_PREFIX}{number:012}")
}
