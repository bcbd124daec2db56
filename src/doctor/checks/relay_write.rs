//! Does what is written come out of the relay? One operation is inserted, waited for, and deleted again.

use std::time::{Duration, Instant};

use reqwest::Url;
use tokio::time::timeout;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};
use uuid::Uuid;

use crate::doctor::report::Finding;
use crate::doctor::session::{CheckError, Session};
use crate::doctor::socket::Socket;

const INSERT: &str = "INSERT INTO public.sync_operations (id, operation_type, owner, message)
    VALUES ($1, 'bellwether_doctor', $2, 'written by bellwether doctor --write, and deleted again')";
const DELETE: &str = "DELETE FROM public.sync_operations WHERE id = $1";
/// Beyond this it works, but nobody would call it live.
const SLOW: Duration = Duration::from_secs(1);

pub(in crate::doctor) async fn check(
    session: &Session,
    relay: &Url,
    limit: Duration,
) -> Result<Finding, CheckError> {
    let (id, owner) = (
        Uuid::new_v4(),
        format!("bellwether doctor {}", Uuid::new_v4()),
    );
    let query = [
        ("topics", "operations"),
        ("owner", owner.as_str()),
        ("mode", "every"),
        ("snapshot", "false"),
    ];
    let mut socket = Socket::open(relay, &query).await?;
    socket.frame("subscribed").await?;

    let client = session.another().await?;
    client
        .batch_execute("SET default_transaction_read_only = off")
        .await?;
    let began = Instant::now();
    let inserted = client
        .query_typed(INSERT, &[(&id, Type::UUID), (&owner, Type::TEXT)])
        .await;
    if let Err(error) = inserted {
        return Ok(Finding::failure(
            format!(
                "nothing could be written: {}",
                CheckError::from(error).chain()
            ),
            "see rights and triggers; without --write nothing is written",
        ));
    }
    let arrived = timeout(limit / 2, socket.frame("events")).await;
    let took = began.elapsed();
    let deleted = delete(&client, id).await;
    let ms = took.as_secs_f64() * 1000.0;
    let mut finding = match arrived {
        Ok(Ok(_)) if took > SLOW => Finding::warning(
            format!("a write was on the socket after {ms:.1} ms"),
            "see doorbell, doorbell mode and notify queue: it seems to come with the safety tick only",
        ),
        Ok(Ok(_)) => Finding::ok(format!("a write was on the socket after {ms:.1} ms")),
        Ok(Err(error)) => return Err(error),
        Err(_) => Finding::failure(
            format!(
                "a write was not on the socket within {} s",
                (limit / 2).as_secs_f32()
            ),
            "see whether the relay is connected to this very database, and triggers; its tick may be longer",
        ),
    };
    if let Err(error) = deleted {
        finding.add(
            crate::doctor::report::Status::Warning,
            format!("the operation {id} is left behind: {error}"),
            format!("DELETE FROM sync_operations WHERE id = '{id}'"),
        );
    }
    Ok(finding.figure("write_to_frame_ms", ms))
}

async fn delete(client: &Client, id: Uuid) -> Result<(), Error> {
    client.query_typed(DELETE, &[(&id, Type::UUID)]).await?;
    Ok(())
}
