//! Where it all goes: JSON lines, plain lines, or the screen of a terminal.

use std::io::{self, IsTerminal};

use tokio::io::{AsyncWriteExt, Stdout, stdout};
use tokio_util::sync::CancellationToken;

use super::{contact::Now, effect::Effect, json::JsonLines, line, screen::Screen, state::State};

/// How to tell what happens.
pub(super) enum Output {
    /// To a program: one JSON line an event on standard output, words for people on standard error.
    Json(JsonLines, Lines),
    /// To a file or a pipe, for people.
    Plain(Lines),
    /// To a terminal.
    Screen(Screen),
}

/// Standard output, whole lines at a time.
pub(super) struct Lines {
    out: Stdout,
    /// Whoever reads may have stopped reading without going away.
    stop: CancellationToken,
}

impl Output {
    /// The screen, where there is one and JSON is not asked for. With `rows`, JSON has the rows of snapshots too.
    pub(super) fn choose(json: bool, rows: bool, stop: CancellationToken) -> Self {
        let lines = Lines {
            out: stdout(),
            stop,
        };
        if json {
            Self::Json(JsonLines::new(rows), lines)
        } else if io::stdout().is_terminal() {
            Self::Screen(Screen::new())
        } else {
            Self::Plain(lines)
        }
    }

    /// Tells of effects, and flushes.
    ///
    /// # Errors
    /// Where it can not be written; a reader that is gone is [`io::ErrorKind::BrokenPipe`].
    pub(super) async fn show(&mut self, effects: &[Effect]) -> io::Result<()> {
        match self {
            Self::Json(json, lines) => {
                for effect in effects.iter().filter(|effect| is_for_people_too(effect)) {
                    say(line::of_effect(effect, false));
                }
                let told = effects.iter().filter_map(|effect| json.line(effect));
                lines.write(told).await
            }
            Self::Plain(lines) => {
                let told = effects
                    .iter()
                    .filter_map(|effect| line::of_effect(effect, true));
                lines.write(told).await
            }
            Self::Screen(screen) => effects
                .iter()
                .filter_map(|effect| line::of_effect(effect, false))
                .try_for_each(|text| screen.line(&text)),
        }
    }

    /// Tells a person something about the connection itself.
    ///
    /// # Errors
    /// Where the screen can not be written to.
    pub(super) fn note(&mut self, note: String) -> io::Result<()> {
        let text = line::of_effect(&Effect::Note(note), false);
        match (self, text) {
            (Self::Screen(screen), Some(text)) => screen.line(&text),
            (_, text) => {
                say(text);
                Ok(())
            }
        }
    }

    /// Brings the screen up to date.
    pub(super) fn draw(&mut self, state: &State) {
        if let Self::Screen(screen) = self {
            screen.draw(state, Now::read());
        }
    }

    /// Leaves the screen as a person would like to find it: with a last line that is true, or, after a single look, with
    /// what is active as lines.
    ///
    /// # Errors
    /// As [`Self::show`].
    pub(super) async fn close(&mut self, state: &State, once: bool) -> io::Result<()> {
        let now = Now::read();
        let is_screen = matches!(self, Self::Screen(_));
        if let Self::Screen(screen) = self {
            screen.close()?;
        }
        let last = if matches!(self, Self::Json(..)) {
            Vec::new()
        } else if once {
            line::all_active(state, now)
        } else if is_screen {
            // The terminal's echo of Ctrl-C can keep the bottom line from being taken away.
            vec![line::farewell(state, now)]
        } else {
            Vec::new()
        };
        let mut lines = Lines {
            out: stdout(),
            stop: CancellationToken::new(),
        };
        lines.write(last.into_iter()).await
    }
}

impl Lines {
    async fn write(&mut self, lines: impl Iterator<Item = String>) -> io::Result<()> {
        let text: String = lines.flat_map(|line| [line, "\n".to_owned()]).collect();
        if text.is_empty() {
            return Ok(());
        }
        let written = async {
            self.out.write_all(text.as_bytes()).await?;
            self.out.flush().await
        };
        tokio::select! {
            written = written => written,
            () = self.stop.cancelled() => Ok(()),
        }
    }
}

/// What a program's reader would want to see on standard error.
fn is_for_people_too(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Relay(_) | Effect::Reset(_) | Effect::Note(_)
    )
}

/// A line on standard error; where that can not be written to, there is nobody to tell.
fn say(text: Option<String>) {
    if let Some(text) = text {
        let _ = io::Write::write_all(
            &mut io::stderr(),
            format!("bellwether: {text}\n").as_bytes(),
        );
    }
}
