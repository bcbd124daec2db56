//! How servers for tests are run.

use bellwether::postgres::EmbeddedOptions;

/// Fast rather than safe from a power cut, with room for many sessions, and with all that some test needs.
pub(crate) fn server_options() -> EmbeddedOptions {
    let options = EmbeddedOptions {
        durable: false,
        ..EmbeddedOptions::default()
    };
    options
        .setting("max_connections", "300")
        .setting("shared_buffers", "128MB")
        .setting("wal_level", "logical")
        .setting("max_prepared_transactions", "20")
        .setting("max_wal_size", "2GB")
        .setting("log_min_messages", "fatal")
}
