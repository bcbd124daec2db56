//! One client comes back in mode `every` after more than the relay has in memory: how long until it has all of it, beside
//! what PostgreSQL takes to hand out the same rows.

use std::pin::pin;
use std::time::Instant;

use futures::{StreamExt, TryStreamExt};
use tokio_postgres::Client;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use super::Outcome;
use super::arms::{OURS, Stage};
use super::numbers::{median, range};
use super::resume::live;
use super::settings::Settings;
use super::table::{Table, cell, range_cell};

const QUERY: &str = "topics=operations&owner=replay&mode=every";
/// How often each row is changed after it was inserted.
const CHANGES: usize = 9;
const CHANGE: &str = "UPDATE public.sync_operations SET processed_items = processed_items + 1, message = 'to be replayed' WHERE owner = 'replay'";
/// In the order in which they lie there.
const FLOOR: &str = "COPY (SELECT id, xid, at, revision, topic, type, entity, payload, record_send(operation) FROM bellwether.event
    WHERE NOT pg_visible_in_snapshot(xid, (SELECT seen FROM before)))
    TO STDOUT (FORMAT binary)";

/// Measures and prints. It leaves its rows where they are, so this comes last.
pub(crate) async fn measure(stage: &Stage, settings: &Settings) -> Outcome<()> {
    let session = stage.server.session(OURS.database).await?;
    session
        .batch_execute("CREATE TEMP TABLE before AS SELECT pg_current_snapshot() AS seen")
        .await?;
    let url = format!("ws://{}/ws?{QUERY}", stage.relay.address);
    let since = live(&format!("{url}&snapshot=false")).await?.cursor;
    let rows = settings.bulk_rows;
    session
        .batch_execute(&format!(
            "INSERT INTO public.sync_operations (operation_type, status, total_items, owner)
             SELECT 'upload', 'in_progress', 1000, 'replay' FROM generate_series(1, {rows})"
        ))
        .await?;
    for _ in 0..CHANGES {
        session.batch_execute(CHANGE).await?;
    }
    let events = rows as usize * (CHANGES + 1);
    let (mut first, mut last, mut floor, mut processor) = (vec![], vec![], vec![], vec![]);
    for _ in 0..settings.rounds {
        floor.push(handed_out(&session).await?);
        let before = stage.relay.processor_seconds();
        let (first_came, last_came) = replayed(&format!("{url}&since={since}"), events).await?;
        first.push(first_came);
        last.push(last_came);
        let used = stage.relay.processor_seconds().zip(before);
        processor.extend(used.map(|(after, before)| after - before));
    }
    let ratios = last.iter().zip(&floor).map(|(last, floor)| last / floor);
    let mut table = Table::new(&[
        "events",
        "first, s",
        "last, s",
        "by round",
        "relay's processor, s",
        "COPY of the same, s",
        "of COPY",
    ]);
    table.row(vec![
        events.to_string(),
        cell(median(first), 2),
        cell(median(last.iter().copied()), 2),
        range_cell(range(last.iter().copied()), 2),
        cell(median(processor), 2),
        cell(median(floor.iter().copied()), 2),
        cell(median(ratios), 2),
    ]);
    table.print("Replay: one client that lacks more than the relay has in memory");
    Ok(())
}

/// Seconds until PostgreSQL has handed out what is replayed, in no order.
async fn handed_out(session: &Client) -> Outcome<f64> {
    let began = Instant::now();
    let mut chunks = pin!(session.copy_out(FLOOR).await?);
    while chunks.try_next().await?.is_some() {}
    Ok(began.elapsed().as_secs_f64())
}

/// Seconds until the first and until the last of so many events has come.
async fn replayed(url: &str, events: usize) -> Outcome<(f64, f64)> {
    let began = Instant::now();
    let (mut socket, _) = connect_async(url).await?;
    let (mut came, mut first) = (0, None);
    while came < events {
        let Message::Text(text) = socket.next().await.ok_or("the relay closed the socket")?? else {
            continue;
        };
        came += text.matches(r#""topic":"operations""#).count();
        if came > 0 {
            first.get_or_insert(began.elapsed().as_secs_f64());
        }
    }
    Ok((first.unwrap_or_default(), began.elapsed().as_secs_f64()))
}
