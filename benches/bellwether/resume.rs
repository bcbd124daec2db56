//! Everybody is cut off at once and comes back at once: how long until all are live again, and what it costs PostgreSQL.

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::try_join_all;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::Outcome;
use super::arms::{OURS, Stage};
use super::numbers::{median, range};
use super::settings::Settings;
use super::table::{Table, cell, range_cell};

/// Changes that everybody has missed.
const MISSED: usize = 100;
const PATIENCE: Duration = Duration::from_secs(60);
/// How long PostgreSQL may take until what its sessions did is counted.
const COUNTED: Duration = Duration::from_millis(2_500);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Who watches: everything in the application's tables, or one owner's part of it.
const QUERIES: [&str; 3] = [
    "topics=operations,errors&mode=latest",
    "topics=operations,errors&mode=every",
    "topics=operations&owner=tenant%207",
];

pub(crate) struct Returned {
    /// Open until all are cut off.
    _socket: Socket,
    pub(crate) cursor: String,
    events: usize,
}

/// Measures and prints.
pub(crate) async fn measure(stage: &Stage, settings: &Settings) -> Outcome<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let session = stage.server.session(OURS.database).await?;
    let mut table = Table::new(&[
        "subscribers",
        "all live, s",
        "by round",
        "p50 live, s",
        "transactions",
        "without them",
        "events missed",
        "wrong",
    ]);
    let count = settings.subscribers;
    let (mut all, mut half, mut wrong) = (vec![], vec![], 0);
    let (mut transactions, mut by_the_clock) = (vec![], vec![]);
    let mut cursors = comes(stage, (0..count).map(|_| None)).await?.0;
    for _ in 0..settings.rounds {
        let held: Vec<_> = cursors
            .iter()
            .map(|returned| Some(returned.cursor.clone()))
            .collect();
        drop(cursors);
        let one = format!(
            "UPDATE public.sync_operations SET message = 'missed', processed_items = processed_items + 1
             WHERE id IN (SELECT id FROM public.sync_operations WHERE owner = 'tenant 7' ORDER BY id LIMIT {})",
            MISSED / 4
        );
        for _ in 0..4 {
            session.batch_execute(&one).await?;
        }
        sleep(COUNTED).await;
        let (began, before) = (Instant::now(), committed(&session).await?);
        let (returned, mut ages) = comes(stage, held.into_iter()).await?;
        sleep(COUNTED).await;
        // The question itself is one of them.
        let after = committed(&session).await?;
        transactions.push(after - before - 1.0);
        sleep(began.elapsed()).await;
        by_the_clock.push(committed(&session).await? - after - 1.0);
        wrong += returned
            .iter()
            .filter(|returned| returned.events != MISSED)
            .count();
        ages.sort_unstable_by(f64::total_cmp);
        half.push(ages[ages.len() / 2]);
        all.extend(ages.last());
        cursors = returned;
    }
    table.row(vec![
        count.to_string(),
        cell(median(all.iter().copied()), 2),
        range_cell(range(all), 2),
        cell(median(half), 2),
        cell(median(transactions), 0),
        cell(median(by_the_clock), 0),
        MISSED.to_string(),
        wrong.to_string(),
    ]);
    table.print("Resume storm: all cut off at once, and back with their cursors (client and relay on these cores)");
    Ok(())
}

async fn committed(session: &tokio_postgres::Client) -> Outcome<f64> {
    let count = "SELECT (xact_commit + xact_rollback)::double precision FROM pg_stat_database
        WHERE datname = current_database()";
    Ok(session.query_one(count, &[]).await?.get(0))
}

/// Everybody connects at once; returns them and when each was live, in seconds.
async fn comes(
    stage: &Stage,
    cursors: impl Iterator<Item = Option<String>>,
) -> Outcome<(Vec<Returned>, Vec<f64>)> {
    let began = Instant::now();
    let coming = cursors.enumerate().map(|(number, since)| {
        let query = QUERIES[number % QUERIES.len()];
        let since = since.map_or("&snapshot=false".to_owned(), |cursor| {
            format!("&since={cursor}")
        });
        let url = format!("ws://{}/ws?{query}{since}", stage.relay.address);
        tokio::spawn(async move {
            let returned = timeout(PATIENCE, live(&url))
                .await
                .map_err(|_| "not live in time")??;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((
                returned,
                began.elapsed().as_secs_f64(),
            ))
        })
    });
    let came = try_join_all(coming).await?;
    let came: Vec<_> = came.into_iter().collect::<Result<_, _>>()?;
    Ok(came.into_iter().unzip())
}

/// Connects until it is live.
pub(crate) async fn live(url: &str) -> Outcome<Returned> {
    let (mut socket, _) = loop {
        match connect_async(url).await {
            Ok(connected) => break connected,
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    };
    let (mut events, mut cursor) = (0, None);
    loop {
        let Message::Text(text) = socket.next().await.ok_or("the relay closed the socket")?? else {
            continue;
        };
        if text.contains(r#""cursor":""#) {
            cursor = text
                .split(r#""cursor":""#)
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .map(str::to_owned);
        }
        events += text.matches(r#""topic":"operations""#).count();
        if text.starts_with(r#"{"type":"heartbeat""#) {
            let cursor = cursor.ok_or("a heartbeat without a cursor")?;
            return Ok(Returned {
                _socket: socket,
                cursor,
                events,
            });
        }
    }
}
