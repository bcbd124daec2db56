//! How many sockets this process may have open.
//!
//! Each subscriber is a descriptor, and the usual soft limit is 1,024, for the sake of programs that use `select`. We do
//! not, so it is raised to the hard limit when a relay starts.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What a relay needs besides its subscribers: the database, the log, the files of the dashboard.
const BESIDES: u64 = 64;

/// Raises the limit as far as it goes, and says where that is less than the subscribers that are allowed.
pub(super) fn raise_limit(max_subscribers: usize) {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => return tracing::warn!(%error, "the limit of open files cannot be read"),
    };
    let mut limit = soft;
    if soft < hard {
        match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            Ok(()) => limit = hard,
            Err(error) => {
                tracing::warn!(soft, hard, %error, "the limit of open files cannot be raised")
            }
        }
    }
    let needed = u64::try_from(max_subscribers)
        .unwrap_or(u64::MAX)
        .saturating_add(BESIDES);
    if limit < needed {
        tracing::warn!(
            limit,
            max_subscribers,
            "the limit of open files is too low for so many subscribers: raise it (ulimit -n, LimitNOFILE=) or lower --max-subscribers"
        );
    } else {
        tracing::info!(limit, "open files");
    }
}
