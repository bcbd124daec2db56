//! One question a file. Each asks, compares with what is wanted, and says what to do.

pub(super) mod clock;
pub(super) mod connections;
pub(super) mod doorbell;
pub(super) mod durability;
pub(super) mod functions;
pub(super) mod lease;
pub(super) mod log_size;
pub(super) mod migrations;
pub(super) mod mode;
pub(super) mod pooling;
pub(super) mod prepared;
pub(super) mod primary;
pub(super) mod queue;
pub(super) mod relay;
pub(super) mod relay_write;
pub(super) mod relays;
pub(super) mod retention;
pub(super) mod rights;
pub(super) mod session_settings;
pub(super) mod tables;
pub(super) mod transactions;
pub(super) mod triggers;
pub(super) mod vacuum;
pub(super) mod version;
pub(super) mod writer_rights;

/// Seconds as a person reads them.
fn seconds(seconds: f64) -> String {
    const DAY: f64 = 86_400.0;
    if seconds >= 2.0 * DAY {
        format!("{:.1} days", seconds / DAY)
    } else {
        crate::tail::text::length(seconds)
    }
}

/// Bytes as a person reads them.
fn bytes(bytes: i64) -> String {
    let mut amount = bytes as f64;
    for unit in ["bytes", "KiB", "MiB"] {
        if amount < 1024.0 {
            let digits = usize::from(unit != "bytes" && amount < 100.0);
            return format!("{amount:.digits$} {unit}");
        }
        amount /= 1024.0;
    }
    format!("{amount:.1} GiB")
}

/// Some names, and how many more there are.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_readable() {
        assert_eq!(seconds(7.0 * 86_400.0), "7.0 days");
        assert_eq!(seconds(0.44), "0.4 s");
        assert_eq!(bytes(0), "0 bytes");
        assert_eq!(bytes(8192), "8.0 KiB");
        assert_eq!(bytes(300 * 1024 * 1024), "300 MiB");
        assert_eq!(bytes(5 * 1024 * 1024 * 1024), "5.0 GiB");
    }

    #[test]
    fn a_long_list_of_names_is_cut() {
        let names: Vec<String> = ('a'..='g').map(String::from).collect();
        assert_eq!(some(&names), "a, b, c, d, e and 2 more");
        assert_eq!(some(&names[..1]), "a");
    }
}
