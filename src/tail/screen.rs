//! The screen of a terminal: lines that scroll, below them a bar for each active operation, at the bottom how it stands.

use std::{collections::HashMap, io};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use super::{
    contact::Now,
    line::{self, Tone},
    rows::Operation,
    state::{Held, State},
};

/// Bars on the screen at the same time; the oldest operations have them.
const MOST_BARS: usize = 12;
/// Steps of a full bar: hundredths of a percent.
const FULL: u64 = 10_000;
/// With bar and spinner of the same width, the text beside them stands in one column.
const WITH_TOTAL: &str = "{prefix:34!} {bar:24.cyan/dim} {percent:>3}% {wide_msg}";
const WITHOUT_TOTAL: &str = "{prefix:34!} {spinner:24.cyan}      {wide_msg}";
/// The bottom, by tone.
const GOOD: &str = "{wide_msg:.green}";
const DOUBTFUL: &str = "{wide_msg:.yellow}";
const BAD: &str = "{wide_msg:.red}";
/// What goes round while the total is unknown.
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// Draws on standard output.
#[derive(Debug)]
pub(super) struct Screen {
    bars: MultiProgress,
    /// By operation.
    shown: HashMap<String, Bar>,
    bottom: ProgressBar,
    tone: Option<Tone>,
}

#[derive(Debug)]
struct Bar {
    bar: ProgressBar,
    has_total: bool,
}

impl Screen {
    pub(super) fn new() -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let bottom = bars.add(ProgressBar::new_spinner());
        Self {
            bars,
            shown: HashMap::new(),
            bottom,
            tone: None,
        }
    }

    /// Writes a line above the bars.
    pub(super) fn line(&self, text: &str) -> io::Result<()> {
        self.bars.println(text)
    }

    /// Brings bars and bottom up to date.
    pub(super) fn draw(&mut self, state: &State, now: Now) {
        let mut active: Vec<(&String, &Held)> = state
            .operations
            .iter()
            .filter(|(_, held)| held.operation.status != "pending")
            .collect();
        active.sort_unstable_by_key(|(_, held)| held.order);
        let hidden = active.len().saturating_sub(MOST_BARS);
        active.truncate(MOST_BARS);
        let bars = &self.bars;
        self.shown.retain(|id, bar| {
            let stays = active.iter().any(|(held, _)| *held == id);
            if !stays {
                bar.bar.finish_and_clear();
                bars.remove(&bar.bar);
            }
            stays
        });
        let time = state
            .contact
            .is_fresh(now)
            .then(|| state.contact.database_time(now));
        for (id, held) in active {
            let bar = self.shown.entry(id.clone()).or_insert_with(|| {
                Bar::new(
                    self.bars
                        .insert_before(&self.bottom, ProgressBar::new(FULL)),
                    &held.operation,
                )
            });
            bar.show(&held.operation, time);
        }
        let (tone, text) = line::bottom(state, hidden, now);
        if self.tone.replace(tone) != Some(tone) {
            self.bottom.set_style(style(match tone {
                Tone::Good => GOOD,
                Tone::Doubtful => DOUBTFUL,
                Tone::Bad => BAD,
            }));
        }
        self.bottom.set_message(text);
        self.bottom.tick();
    }

    /// Takes bars and bottom away, since they would be true no more; the lines stay.
    ///
    /// # Errors
    /// Where the terminal can not be written to.
    pub(super) fn close(&mut self) -> io::Result<()> {
        for (_, bar) in self.shown.drain() {
            bar.bar.finish_and_clear();
        }
        self.bottom.finish_and_clear();
        self.bars.clear()
    }
}

impl Bar {
    fn new(bar: ProgressBar, operation: &Operation) -> Self {
        bar.set_prefix(line::name(operation));
        let has_total = knows_how_far(operation);
        bar.set_style(bar_style(has_total));
        Self { bar, has_total }
    }

    /// The spinner turns only while it is known that the work goes on.
    fn show(&mut self, operation: &Operation, time: Option<Timestamp>) {
        let has_total = knows_how_far(operation);
        if has_total != self.has_total {
            self.has_total = has_total;
            self.bar.set_style(bar_style(has_total));
        }
        let hundredths = (operation.progress.clamp(0.0, 100.0) * 100.0) as u64;
        self.bar.set_position(hundredths);
        self.bar.set_message(line::beside_bar(operation, time));
        if operation.status == "in_progress" && time.is_some() {
            self.bar.tick();
        }
    }
}

/// Whether there is a percentage to show: from a total, or from an application that says it itself.
fn knows_how_far(operation: &Operation) -> bool {
    operation.total_items.is_some() || operation.progress > 0.0
}

fn bar_style(has_total: bool) -> ProgressStyle {
    if has_total {
        style(WITH_TOTAL).progress_chars("━━─")
    } else {
        style(WITHOUT_TOTAL).tick_strings(&SPINNER)
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates of this file are valid")
}
