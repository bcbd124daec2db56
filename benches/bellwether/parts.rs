//! Where a writer's time goes: each part of what happens to a change, added to the one before, and then the
//! whole with a relay that reads.

use super::Outcome;
use super::arms::{
    Arm, BARE, DERIVED, OPERATIONS, OURS, PLAIN, SILENT, Stage, UNHEARD, UNINDEXED, UNREAD,
};
use super::numbers::{median, range};
use super::pgbench::Plan;
use super::probes::settle;
use super::settings::Settings;
use super::table::{Table, cell, range_cell};
use super::writers::{Receivers, warm_up};

const ARMS: [Arm; 8] = [
    PLAIN, BARE, DERIVED, UNINDEXED, UNREAD, UNHEARD, SILENT, OURS,
];

/// Measures and prints, with one client and with the most of the settings, commits as they are.
pub(crate) async fn measure(stage: &Stage, settings: &Settings) -> Outcome<()> {
    let receivers = Receivers::connect(stage).await?;
    for arm in ARMS {
        warm_up(stage, arm, &receivers).await?;
    }
    let counts = [1, settings.clients.iter().copied().max().unwrap_or(32)];
    let mut table = Table::new(&["clients, triggers", "tps", "tps by round", "of no triggers"]);
    for clients in counts {
        let mut tps: [Vec<f64>; ARMS.len()] = Default::default();
        for _ in 0..settings.rounds {
            for (arm, tps) in ARMS.iter().zip(&mut tps) {
                let plan = Plan {
                    arm: *arm,
                    clients,
                    seconds: settings.writer_seconds,
                    commit_delay: 0,
                    rate: None,
                    operations: OPERATIONS,
                };
                tps.push(plan.run(&stage.server).await?.tps);
                if let Some(receiver) = receivers.of(*arm) {
                    settle(&stage.server, arm.database, receiver).await?;
                    receiver.take()?;
                }
            }
        }
        for (arm, own) in ARMS.iter().zip(&tps) {
            let ratios = own.iter().zip(&tps[0]).map(|(own, plain)| own / plain);
            let name = match *arm {
                SILENT => "all but the doorbell, relay and subscriber",
                OURS => "all (adaptive), relay and subscriber",
                UNHEARD => "+ doorbell always, nobody hears it",
                arm => arm.name,
            };
            table.row(vec![
                format!("{clients}: {name}"),
                cell(median(own.iter().copied()), 0),
                range_cell(range(own.iter().copied()), 0),
                cell(median(ratios), 2),
            ]);
        }
    }
    table.print("Where a writer's time goes");
    Ok(())
}
