//! How an embedded server is run.

use std::time::Duration;

/// How to run the server.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// The port on 127.0.0.1; where there is none, the one of the last start or any that is free.
    pub port: Option<u16>,
    /// Settings of the server that go before those of its configuration file, by name.
    pub settings: Vec<(String, String)>,
    /// Whether a power cut may cost nothing. Tests say no, which is faster; a crash of the server alone costs nothing
    /// either way.
    pub durable: bool,
    /// How long it may take to accept connections; a long recovery after a crash is part of that.
    pub start_timeout: Duration,
    /// How long an orderly shutdown may take before it is made an immediate one.
    pub stop_timeout: Duration,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            port: None,
            settings: Vec::new(),
            durable: true,
            start_timeout: Duration::from_secs(60),
            stop_timeout: Duration::from_secs(30),
        }
    }
}

impl EmbeddedOptions {
    /// Adds a setting of the server, as `postgres -c name=value` takes it.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}
