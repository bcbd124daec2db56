//! What the members of a group have yet to get, kept once for all of them.
//!
//! Whether an event gives way to a newer one of its row follows from the stream and not from the reader: whoever lacks
//! the older one lacks the newer one too. So a member is a position in what its group shares, and a thousand members
//! that have stopped reading are a thousand numbers.
//!
//! Invariants:
//! - a batch costs those who wait for it, and nothing for each of those who are behind;
//! - a `latest` member is handed what conflating everything after its position by itself would give, an `every` member
//!   everything after its position;
//! - what is kept is what some member lacks, bounded in bytes for either mode however many are behind; one batch is
//!   kept in any case, so that nobody is lost who reads each;
//! - where the bound is reached, those furthest behind give way: first the older endings and errors that nobody else
//!   lacks, then they themselves. Nobody loses anything because another is slower.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use tokio::sync::Notify;

use super::frame::{self, Frame, Told};
use super::subscriber::{Losses, Mode};
use crate::event::{Effect, Topic};

/// Where a member stands: how many of its group's events are behind it.
pub(crate) type Position = u64;

/// One batch as a group of equal subscriptions gets it.
#[derive(Debug)]
pub(crate) struct Delivery {
    sub: Arc<str>,
    cursor: Arc<str>,
    /// How many of the group's events came before.
    first: Position,
    events: Vec<Told>,
    bytes: usize,
    /// Encoded by the first who sends it.
    frame: OnceLock<Frame>,
}

impl Delivery {
    fn end(&self) -> Position {
        self.first + self.events.len() as Position
    }

    fn frame(&self) -> Frame {
        self.frame
            .get_or_init(|| frame::events(&self.sub, &self.cursor, &self.events))
            .clone()
    }
}

/// What a member is handed.
#[derive(Debug)]
pub(crate) enum Handed {
    /// These batches, whole.
    Whole(Vec<Arc<Delivery>>),
    /// The newest event of each row since its position, and the batch that they end with.
    Conflated(Vec<Told>, Arc<Delivery>),
    /// It was too far behind.
    Lost,
}

impl Handed {
    /// The frames, encoded where nobody has done so before: not a thing to do under a lock.
    pub(crate) fn frames(self) -> Vec<Frame> {
        match self {
            Self::Whole(deliveries) => deliveries.iter().map(|each| each.frame()).collect(),
            Self::Conflated(events, last) => {
                vec![frame::events(&last.sub, &last.cursor, &events)]
            }
            Self::Lost => Vec::new(),
        }
    }
}

/// What a group's members have yet to get.
#[derive(Debug)]
pub(crate) struct Backlog {
    sub: Arc<str>,
    max_bytes: usize,
    losses: Arc<Losses>,
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    /// How many events there have been.
    end: Position,
    /// The newest batch, as long as a `latest` member lacks it.
    newest: Option<Arc<Delivery>>,
    every: Every,
    latest: Latest,
    /// Those who have everything and wait for more.
    waiting: BTreeMap<u64, Arc<Notify>>,
}

impl Backlog {
    pub(crate) fn new(sub: Arc<str>, max_bytes: usize, losses: Arc<Losses>) -> Self {
        Self {
            sub,
            max_bytes,
            losses,
            pending: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().expect("no holder of this lock panics")
    }

    /// A member that gets what comes from now on.
    pub(crate) fn join(&self, mode: Mode, member: u64, wake: &Arc<Notify>) -> Position {
        let mut pending = self.lock();
        let end = pending.end;
        pending.readers(mode).add(end);
        pending.waiting.insert(member, wake.clone());
        end
    }

    /// A member that goes, or is to begin anew.
    pub(crate) fn leave(&self, mode: Mode, member: u64, position: Position) {
        let mut pending = self.lock();
        pending.readers(mode).remove(position);
        pending.waiting.remove(&member);
        pending.forget();
    }

    /// Adds a batch; returns whom to wake.
    pub(crate) fn push(&self, cursor: &Arc<str>, events: Vec<Told>) -> Vec<Arc<Notify>> {
        let mut pending = self.lock();
        let Pending {
            end,
            newest,
            every,
            latest,
            waiting,
        } = &mut *pending;
        if let Some(before) = newest.take() {
            latest.merge(&before);
        }
        let bytes = cursor.len() + events.iter().map(|(event, _)| event.size()).sum::<usize>();
        let delivery = Arc::new(Delivery {
            sub: self.sub.clone(),
            cursor: cursor.clone(),
            first: *end,
            events,
            bytes,
            frame: OnceLock::new(),
        });
        *end = delivery.end();
        latest.relieve(self.max_bytes, &self.losses);
        if !latest.readers.is_empty() {
            *newest = Some(delivery.clone());
        }
        if !every.readers.is_empty() {
            every.push(delivery);
            every.relieve(self.max_bytes, &self.losses);
        }
        std::mem::take(waiting).into_values().collect()
    }

    /// What a member lacks. It is at the returned position then, and is woken when more comes.
    pub(crate) fn take(
        &self,
        mode: Mode,
        position: Position,
        member: u64,
        wake: &Arc<Notify>,
    ) -> (Handed, Position) {
        let mut pending = self.lock();
        if pending.readers(mode).has_lost(position) {
            return (Handed::Lost, position);
        }
        let handed = match mode {
            Mode::Every => Handed::Whole(pending.every.after(position)),
            Mode::Latest => pending.latest_after(position),
        };
        let end = pending.end;
        if let Handed::Conflated(events, _) = &handed {
            let given_up = end - position - events.len() as u64;
            self.losses.conflated.fetch_add(given_up, Ordering::Relaxed);
        }
        pending.readers(mode).remove(position);
        pending.readers(mode).add(end);
        pending.waiting.insert(member, wake.clone());
        pending.forget();
        (handed, end)
    }

    /// Bytes of events that are kept.
    pub(crate) fn bytes(&self) -> usize {
        let pending = self.lock();
        let newest = pending.newest.as_ref().map_or(0, |newest| newest.bytes);
        newest + pending.every.bytes + pending.latest.bytes
    }
}

impl Pending {
    fn readers(&mut self, mode: Mode) -> &mut Readers {
        match mode {
            Mode::Every => &mut self.every.readers,
            Mode::Latest => &mut self.latest.readers,
        }
    }

    /// Whoever lacks only the newest batch gets it as it is.
    fn latest_after(&mut self, position: Position) -> Handed {
        let Some(newest) = self.newest.clone().filter(|newest| newest.end() > position) else {
            return Handed::Whole(Vec::new());
        };
        if newest.first <= position {
            return Handed::Whole(vec![newest]);
        }
        self.latest.merge(&newest);
        let told = self.latest.after(position);
        // Nothing but older news of rows whose newest it has.
        if told.is_empty() {
            return Handed::Whole(Vec::new());
        }
        Handed::Conflated(told, newest)
    }

    /// Lets go of what nobody lacks any more.
    fn forget(&mut self) {
        self.every.forget();
        self.latest.forget();
        let is_lacked = |newest: &Arc<Delivery>| {
            let oldest = self.latest.readers.oldest();
            oldest.is_some_and(|oldest| oldest < newest.end())
        };
        self.newest = self.newest.take().filter(is_lacked);
    }
}

/// How many members stand where.
#[derive(Debug, Default)]
struct Readers {
    at: BTreeMap<Position, usize>,
    /// Whoever stands here or further back is lost.
    lost: Option<Position>,
}

impl Readers {
    fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    fn oldest(&self) -> Option<Position> {
        self.at.keys().next().copied()
    }

    fn has_lost(&self, position: Position) -> bool {
        self.lost.is_some_and(|lost| position <= lost)
    }

    fn add(&mut self, position: Position) {
        *self.at.entry(position).or_default() += 1;
    }

    fn remove(&mut self, position: Position) {
        if let Some(count) = self.at.get_mut(&position) {
            *count -= 1;
            if *count == 0 {
                self.at.remove(&position);
            }
        }
    }

    /// Gives up those furthest behind; returns how many they were.
    fn lose_oldest(&mut self) -> u64 {
        let Some((position, count)) = self.at.pop_first() else {
            return 0;
        };
        self.lost = Some(position);
        count as u64
    }
}

/// What `every` members lack: whole batches.
#[derive(Debug, Default)]
struct Every {
    readers: Readers,
    deliveries: VecDeque<Arc<Delivery>>,
    bytes: usize,
}

impl Every {
    fn push(&mut self, delivery: Arc<Delivery>) {
        self.bytes += delivery.bytes;
        self.deliveries.push_back(delivery);
    }

    fn relieve(&mut self, max_bytes: usize, losses: &Losses) {
        while self.bytes > max_bytes && self.deliveries.len() > 1 {
            let lost = self.readers.lose_oldest();
            losses.overflows.fetch_add(lost, Ordering::Relaxed);
            self.forget();
        }
    }

    fn after(&self, position: Position) -> Vec<Arc<Delivery>> {
        let from = self
            .deliveries
            .partition_point(|delivery| delivery.first < position);
        self.deliveries.range(from..).cloned().collect()
    }

    fn forget(&mut self) {
        let oldest = self.readers.oldest().unwrap_or(Position::MAX);
        while let Some(first) = self.deliveries.front()
            && first.end() <= oldest
        {
            self.bytes -= first.bytes;
            self.deliveries.pop_front();
        }
    }
}

/// What `latest` members lack: of each row the newest event, and the endings and errors before it while there is room.
#[derive(Debug, Default)]
struct Latest {
    readers: Readers,
    /// By their number, counted from 1: a member at a position lacks those above it.
    events: BTreeMap<Position, Told>,
    bytes: usize,
    newest: HashMap<(Topic, Box<str>), Position>,
    /// Endings and errors that a newer event of their row has followed.
    spare: BTreeSet<Position>,
    /// Up to where batches have been merged.
    merged: Position,
}

impl Latest {
    /// Takes in a batch, if it has not been.
    fn merge(&mut self, delivery: &Delivery) {
        if self.merged >= delivery.end() {
            return;
        }
        self.merged = delivery.end();
        for (number, told) in (delivery.first + 1..).zip(&delivery.events) {
            self.insert(number, told);
        }
    }

    fn insert(&mut self, number: Position, told: &Told) {
        let event = &told.0;
        if event.effect == Effect::Truncated {
            self.forget_topic(event.topic);
        }
        let row = (event.topic, event.row.entity.clone());
        if let Some(held) = self.newest.get(&row).copied() {
            let (older, _) = &self.events[&held];
            if event.topic != Topic::Errors && event.row.revision < older.row.revision {
                return;
            }
            if older.is_transient() {
                self.remove(held);
            } else {
                self.spare.insert(held);
            }
        }
        self.newest.insert(row, number);
        self.bytes += event.size();
        self.events.insert(number, told.clone());
    }

    /// An emptied table makes everything before it needless.
    fn forget_topic(&mut self, topic: Topic) {
        let of_topic =
            |(number, (event, _)): (&Position, &Told)| (event.topic == topic).then_some(*number);
        let needless: Vec<_> = self.events.iter().filter_map(of_topic).collect();
        needless.into_iter().for_each(|number| self.remove(number));
    }

    fn remove(&mut self, number: Position) {
        let Some((event, _)) = self.events.remove(&number) else {
            return;
        };
        self.bytes -= event.size();
        if !self.spare.remove(&number) {
            self.newest.remove(&(event.topic, event.row.entity.clone()));
        }
    }

    fn relieve(&mut self, max_bytes: usize, losses: &Losses) {
        self.forget();
        while self.bytes > max_bytes {
            // Those after this one others lack too.
            let shared = self.readers.at.keys().nth(1).copied();
            match self.spare.first().copied() {
                Some(spare) if shared.is_none_or(|shared| spare <= shared) => self.remove(spare),
                _ => {
                    let lost = self.readers.lose_oldest();
                    losses.resets.fetch_add(lost, Ordering::Relaxed);
                    self.forget();
                }
            }
        }
    }

    fn after(&self, position: Position) -> Vec<Told> {
        let events = self.events.range(position + 1..);
        events.map(|(_, told)| told.clone()).collect()
    }

    fn forget(&mut self) {
        let oldest = self.readers.oldest().unwrap_or(Position::MAX);
        while let Some(first) = self.events.keys().next().copied()
            && first <= oldest
        {
            self.remove(first);
        }
    }
}

#[cfg(test)]
mod tests;
