//! Writes down who is connected: `connection_status` rows with source `relay`.
//!
//! One batch every few seconds, in one transaction and so in one frame to whoever watches connections: a thousand
//! sockets that connect at once are two statements, and one that comes and goes between two batches is none. Nothing is
//! written where nothing has changed; the relay's own sign of life is one row of its own. When that grows old, any other
//! relay marks the dead one's subscribers disconnected.
//!
//! No statement is prepared by name: what a row or a statement keeps alive would be closed after the transaction, and
//! behind a transaction pooler that is on another connection to the server.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::time::{MissedTickBehavior, interval as every};
use tokio_postgres::types::Type;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{JobError, SchedulerOptions, interval, within};
use crate::hub::Hub;
use crate::hub::presence::{Client, Presence};

/// How long it may take to be written down who is connected.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// A relay that finds its row gone was taken for dead: `xmax = 0` says that the row is new.
const ALIVE: &str = "INSERT INTO bellwether.relay AS r (id, host, version) VALUES ($1, $2, $3)
    ON CONFLICT (id) DO UPDATE SET seen_at = clock_timestamp() RETURNING r.xmax = '0'::xid";

const CONNECTED: &str = "INSERT INTO public.connection_status AS c
        (client_id, status, source, relay_id, last_ping, latency_ms, address, user_agent, metadata)
    SELECT client_id, 'connected', 'relay', $1, clock_timestamp(), latency_ms, address, user_agent,
           jsonb_build_object('transport', transport)
    FROM unnest($2::text[], $3::double precision[], $4::text[], $5::text[], $6::text[])
        AS client (client_id, latency_ms, address, user_agent, transport)
    ON CONFLICT (client_id) DO UPDATE SET
        status = 'connected', last_ping = excluded.last_ping, latency_ms = excluded.latency_ms";

const GONE: &str = "UPDATE public.connection_status SET status = 'disconnected'
    WHERE client_id = ANY ($1) AND status <> 'disconnected'";

const DEAD_RELAYS: &str = "WITH dead AS (
        DELETE FROM bellwether.relay WHERE seen_at < clock_timestamp() - $1::text::interval RETURNING id)
    UPDATE public.connection_status SET status = 'disconnected'
    WHERE relay_id IN (SELECT id FROM dead) AND status <> 'disconnected'";

const LEAVE: &str = "WITH gone AS (DELETE FROM bellwether.relay WHERE id = $1)
    UPDATE public.connection_status SET status = 'disconnected' WHERE relay_id = $1 AND status <> 'disconnected'";

/// Keeps the table up to date until the token is cancelled, and then says that everyone is gone.
pub(super) async fn run(
    pool: Pool,
    options: SchedulerOptions,
    presence: Presence,
    hub: Hub,
    relay: Uuid,
    stop: CancellationToken,
) {
    let mut book = Book {
        pool,
        relay,
        written: HashMap::new(),
        in_doubt: false,
        dead_after: interval(options.relay_dead_after),
    };
    let mut tick = every(options.presence_every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = tick.tick() => {}
        }
        let outcome = book.write(&presence).await;
        JobError::tell(outcome.as_ref().map(drop), "presence", &hub);
        if let Err(error) = outcome {
            tracing::warn!(
                error = &error as &dyn Error,
                "who is connected could not be written down"
            );
        }
    }
    if let Err(error) = book.leave().await {
        tracing::warn!(
            error = &error as &dyn Error,
            "that this relay leaves could not be written down"
        );
    }
}

/// What has been written, so that only changes are.
struct Book {
    pool: Pool,
    relay: Uuid,
    written: HashMap<Uuid, Client>,
    /// A commit was not answered: what is in the book may not be in the table, and the other way round.
    in_doubt: bool,
    dead_after: String,
}

impl Book {
    async fn write(&mut self, presence: &Presence) -> Result<(), JobError> {
        let present = presence.present();
        let outcome = within(WRITE_LIMIT, self.try_to_write(&present)).await;
        self.in_doubt = outcome.is_err();
        if self.in_doubt {
            self.written.extend(present);
        } else {
            self.written = present;
        }
        outcome
    }

    async fn try_to_write(&mut self, present: &HashMap<Uuid, Client>) -> Result<(), JobError> {
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await?;
        let alive = transaction
            .query_typed_one(
                ALIVE,
                &[
                    (&self.relay, Type::UUID),
                    (&host(), Type::TEXT),
                    (&env!("CARGO_PKG_VERSION"), Type::TEXT),
                ],
            )
            .await?;
        if alive.get(0) {
            self.written.clear();
        }
        let changed: Vec<_> = present
            .iter()
            .filter(|(id, client)| self.in_doubt || self.written.get(id) != Some(client))
            .collect();
        if !changed.is_empty() {
            let ids: Vec<_> = changed
                .iter()
                .map(|(id, client)| client_id(id, client))
                .collect();
            let latencies: Vec<_> = changed
                .iter()
                .map(|(_, client)| client.latency_ms)
                .collect();
            let addresses: Vec<_> = changed
                .iter()
                .map(|(_, client)| client.address.as_deref())
                .collect();
            let agents: Vec<_> = changed
                .iter()
                .map(|(_, client)| client.user_agent.as_deref())
                .collect();
            let transports: Vec<_> = changed.iter().map(|(_, client)| client.transport).collect();
            transaction
                .execute_typed(
                    CONNECTED,
                    &[
                        (&self.relay, Type::UUID),
                        (&ids, Type::TEXT_ARRAY),
                        (&latencies, Type::FLOAT8_ARRAY),
                        (&addresses, Type::TEXT_ARRAY),
                        (&agents, Type::TEXT_ARRAY),
                        (&transports, Type::TEXT_ARRAY),
                    ],
                )
                .await?;
        }
        let gone: Vec<_> = self
            .written
            .iter()
            .filter(|(id, _)| !present.contains_key(id))
            .map(|(id, client)| client_id(id, client))
            .collect();
        if !gone.is_empty() {
            transaction
                .execute_typed(GONE, &[(&gone, Type::TEXT_ARRAY)])
                .await?;
        }
        transaction
            .execute_typed(DEAD_RELAYS, &[(&self.dead_after, Type::TEXT)])
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn leave(&self) -> Result<(), JobError> {
        within(WRITE_LIMIT, async {
            let client = self.pool.get().await?;
            client
                .execute_typed(LEAVE, &[(&self.relay, Type::UUID)])
                .await?;
            Ok(())
        })
        .await
    }
}

fn client_id(id: &Uuid, client: &Client) -> String {
    format!("{}:{id}", client.transport)
}

/// Which process on which machine this is.
fn host() -> String {
    let name = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    format!(
        "{}:{}",
        name.unwrap_or_else(|_| "unknown".into()),
        std::process::id()
    )
}
