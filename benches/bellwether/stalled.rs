//! Clients that have subscribed and never read: what they cost those who do read, and the relay.
//!
//! A round has a subscriber of either mode that reads and either nobody beside them or so many who do not. The load is
//! on few rows, so that what waits for the `latest` ones is conflated again and again and never dropped.

use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use futures::future::try_join_all;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::Outcome;
use super::arms::{OURS, Stage, operation_id};
use super::numbers::{Percentiles, median, range};
use super::pgbench::Plan;
use super::probes;
use super::receiver::Receiver;
use super::settings::Settings;
use super::table::{Table, cell, range_cell};

/// Rows that the load is on.
const ROWS: u32 = 200;
const WRITERS: u32 = 8;
/// Seconds of load before the first probe: whoever does not read is behind by then.
const BEFORE: u32 = 3;
/// Segment and receive buffer, in bytes, as of a client far away. On one machine the system would take megabytes of what
/// nobody reads, and nobody would be behind.
const FAR_SEGMENT: u32 = 1_400;
const FAR_BUFFER: usize = 4_096;
/// Who reads.
const READERS: [&str; 2] = ["latest", "every"];

/// A client that does not read.
enum Stalled {
    WebSocket {
        _socket: Box<WebSocketStream<TcpStream>>,
    },
    Events {
        _socket: TcpStream,
    },
}

/// What one reader saw in one round, and what the relay did for an event.
struct Seen {
    ages: Option<Percentiles>,
    microseconds: Option<f64>,
    written: usize,
    received: usize,
}

/// Measures and prints.
pub(crate) async fn measure(stage: &Stage, settings: &Settings) -> Outcome<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let counts = [0, settings.stalled];
    let mut rounds: [[Vec<Seen>; READERS.len()]; 2] = Default::default();
    // The first time is for the caches, and is thrown away.
    for number in 0..=settings.rounds {
        for (count, rounds) in counts.iter().zip(&mut rounds) {
            let seen = round(stage, settings, *count).await?;
            for (seen, rounds) in seen.into_iter().zip(rounds) {
                if number > 0 {
                    rounds.push(seen);
                }
            }
        }
    }
    let mut table = Table::new(&[
        "stalled clients, reader",
        "p50 ms",
        "p99 ms",
        "p50 by round",
        "p99 by round",
        "p50 of none",
        "p99 of none",
        "relay us an event",
        "of none",
        "received",
    ]);
    for (count, own) in counts.iter().zip(&rounds) {
        for (reader, (name, own)) in READERS.iter().zip(own).enumerate() {
            table.row(row(&format!("{count}: {name}"), own, &rounds[0][reader]));
        }
    }
    table.print(&format!(
        "Stalled clients: age of an event at a reader beside them, {} changes a second (medians of {} rounds)",
        settings.busy_rate + settings.probes,
        settings.rounds
    ));
    Ok(())
}

fn row(name: &str, own: &[Seen], none: &[Seen]) -> Vec<String> {
    let all = |rounds: &[Seen], pick: fn(&Seen) -> Option<f64>| -> Vec<f64> {
        rounds.iter().filter_map(pick).collect()
    };
    let p50: fn(&Seen) -> Option<f64> = |seen| Some(seen.ages?.p50);
    let p99: fn(&Seen) -> Option<f64> = |seen| Some(seen.ages?.p99);
    let cost: fn(&Seen) -> Option<f64> = |seen| seen.microseconds;
    let ratio = |pick| {
        let pairs = all(own, pick).into_iter().zip(all(none, pick));
        cell(median(pairs.map(|(own, none)| own / none)), 2)
    };
    vec![
        name.to_owned(),
        cell(median(all(own, p50)), 2),
        cell(median(all(own, p99)), 2),
        range_cell(range(all(own, p50)), 2),
        range_cell(range(all(own, p99)), 2),
        ratio(p50),
        ratio(p99),
        cell(median(all(own, cost)), 0),
        ratio(cost),
        format!(
            "{}/{}",
            own.iter().map(|seen| seen.received).sum::<usize>(),
            own.iter().map(|seen| seen.written).sum::<usize>()
        ),
    ]
}

async fn round(stage: &Stage, settings: &Settings, count: u32) -> Outcome<Vec<Seen>> {
    let (server, relay) = (&stage.server, stage.relay.address);
    let mut receivers = Vec::new();
    for mode in READERS {
        let query = format!("topics=operations&mode={mode}");
        receivers.push(Receiver::subscribe(relay, &query).await?);
    }
    for receiver in &receivers {
        probes::settle(server, OURS.database, receiver).await?;
    }
    let stalled = try_join_all((0..count).map(|number| stall(relay, number))).await?;
    let load = Plan {
        arm: OURS,
        clients: WRITERS,
        seconds: BEFORE + settings.latency_seconds + 1,
        commit_delay: 0,
        rate: Some(settings.busy_rate),
        operations: ROWS,
    };
    let load = load.start(server).await?;
    sleep(Duration::from_secs(BEFORE.into())).await;
    for receiver in &receivers {
        receiver.take()?;
    }
    let before = stage.relay.processor_seconds();
    let taken = probes::write(
        server,
        OURS.database,
        settings.probes,
        settings.latency_seconds,
    )
    .await?;
    let after = stage.relay.processor_seconds();
    let mut seen = Vec::new();
    for receiver in &receivers {
        probes::await_stragglers(receiver, taken.len()).await;
        let tally = receiver.take()?;
        let events = (tally.probes.len() + tally.load.len()) as f64;
        let used = before.zip(after).map(|(before, after)| after - before);
        seen.push(Seen {
            written: taken.len(),
            received: tally.probes.len(),
            ages: Percentiles::of(tally.probes),
            microseconds: used.map(|used| used * 1e6 / events),
        });
    }
    load.finish().await?;
    drop(stalled);
    Ok(seen)
}

/// Half of them are WebSockets that want the latest, a quarter WebSockets that want every event, a quarter server-sent
/// events.
async fn stall(relay: SocketAddr, number: u32) -> Outcome<Stalled> {
    let rows: Vec<_> = (1..=ROWS).map(operation_id).collect();
    let query = format!(
        "topics=operations&snapshot=false&operation_id={}",
        rows.join(",")
    );
    let mut socket = far_away(relay).await?;
    if number % 4 == 3 {
        let request = format!("GET /events?{query} HTTP/1.1\r\nHost: {relay}\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        let mut some = [0; 12];
        socket.read_exact(&mut some).await?;
        if &some != b"HTTP/1.1 200" {
            return Err("the relay refuses a stream".into());
        }
        return Ok(Stalled::Events { _socket: socket });
    }
    let mode = if number % 4 == 2 { "every" } else { "latest" };
    let url = format!("ws://{relay}/ws?{query}&mode={mode}");
    let (mut socket, _) = client_async(url, socket).await?;
    while let Some(message) = socket.next().await {
        if message?.into_text()?.contains(r#""type":"subscribed""#) {
            return Ok(Stalled::WebSocket {
                _socket: Box::new(socket),
            });
        }
    }
    Err("the relay closed a socket".into())
}

/// A connection as of a client far away.
async fn far_away(relay: SocketAddr) -> Outcome<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_recv_buffer_size(FAR_BUFFER)?;
    socket.set_tcp_mss(FAR_SEGMENT)?;
    socket.set_nonblocking(true)?;
    Ok(TcpSocket::from_std_stream(socket.into())
        .connect(relay)
        .await?)
}
