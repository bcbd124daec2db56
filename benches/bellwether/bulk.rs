//! One statement that writes very many rows.

use std::pin::pin;
use std::time::Instant;

use bytes::Bytes;
use futures::SinkExt;
use tokio_postgres::Client;

use super::Outcome;
use super::arms::{Arm, NAIVE, OURS, PLAIN, SILENT, Stage, seed_probes};
use super::numbers::{median, range};
use super::probes::settle;
use super::settings::Settings;
use super::table::{Table, cell, range_cell};
use super::writers::Receivers;

const ARMS: [Arm; 4] = [PLAIN, OURS, SILENT, NAIVE];
const COPY: &str = "COPY public.sync_operations (operation_type, status, total_items, owner, current_item, message) FROM STDIN";
const UPDATE: &str =
    "UPDATE public.sync_operations SET processed_items = processed_items + 1, message = 'in bulk'";
/// Bytes sent to the server at a time.
const CHUNK: usize = 64 * 1024;

/// Measures and prints. The tables are emptied, so this comes last.
pub(crate) async fn measure(stage: &Stage, settings: &Settings) -> Outcome<()> {
    let receivers = Receivers::connect(stage).await?;
    let (mut copies, mut updates): ([Vec<f64>; ARMS.len()], [Vec<f64>; ARMS.len()]) =
        Default::default();
    for _ in 0..settings.rounds {
        for (index, arm) in ARMS.iter().enumerate() {
            let session = stage.server.session(arm.database).await?;
            if let Some(mode) = arm.doorbell {
                session
                    .batch_execute(&format!("SET bellwether.doorbell = '{mode}'"))
                    .await?;
            }
            session
                .batch_execute("TRUNCATE public.sync_operations CASCADE")
                .await?;
            seed_probes(&session).await?;
            session.batch_execute("CHECKPOINT").await?;
            copies[index].push(copy(&session, settings.bulk_rows).await?);
            caught_up(stage, *arm, &receivers).await?;
            updates[index].push(update(&session).await?);
            caught_up(stage, *arm, &receivers).await?;
        }
    }
    let mut table = Table::new(&[
        "statement, triggers",
        "seconds",
        "by round",
        "of no triggers",
    ]);
    for (statement, seconds) in [("COPY", &copies), ("UPDATE", &updates)] {
        for (arm, own) in ARMS.iter().zip(seconds) {
            let ratios = own.iter().zip(&seconds[0]).map(|(own, plain)| own / plain);
            table.row(vec![
                format!("{statement}: {}", arm.name),
                cell(median(own.iter().copied()), 2),
                range_cell(range(own.iter().copied()), 2),
                cell(median(ratios), 2),
            ]);
        }
    }
    table.print(&format!("One statement of {} rows", settings.bulk_rows));
    Ok(())
}

/// Whoever receives must be done before the next measurement begins.
async fn caught_up(stage: &Stage, arm: Arm, receivers: &Receivers) -> Outcome<()> {
    if let Some(receiver) = receivers.of(arm) {
        settle(&stage.server, arm.database, receiver).await?;
        receiver.take()?;
    }
    Ok(())
}

async fn copy(session: &Client, rows: u32) -> Outcome<f64> {
    let mut chunks = vec![String::new()];
    for number in 0..rows {
        if chunks[chunks.len() - 1].len() > CHUNK {
            chunks.push(String::new());
        }
        let last = chunks.len() - 1;
        chunks[last].push_str(&format!(
            "upload\tin_progress\t1000\ttenant {}\tinvoices/{number}.pdf\tin bulk at first\n",
            number % 50
        ));
    }
    let began = Instant::now();
    let mut sink = pin!(session.copy_in(COPY).await?);
    for chunk in chunks {
        sink.send(Bytes::from(chunk)).await?;
    }
    sink.finish().await?;
    Ok(began.elapsed().as_secs_f64())
}

async fn update(session: &Client) -> Outcome<f64> {
    let began = Instant::now();
    session.execute(UPDATE, &[]).await?;
    Ok(began.elapsed().as_secs_f64())
}
