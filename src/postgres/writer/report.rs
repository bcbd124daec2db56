//! What a writer says about a job, in the words of the tables.

use serde_json::Value;
use tokio_postgres::types::{FromSql, Type};
use uuid::Uuid;

/// The status of an operation, as the database holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Waiting for its turn.
    Pending,
    /// At work.
    InProgress,
    /// Held up by somebody; goes on when it is in progress again.
    Paused,
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed,
    /// Ended because somebody wanted it to.
    Cancelled,
}

impl Status {
    const ALL: [Self; 6] = [
        Self::Pending,
        Self::InProgress,
        Self::Paused,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the operation will not go on.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

impl<'a> FromSql<'a> for Status {
    fn from_sql(
        kind: &Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        let name = <&str>::from_sql(kind, raw)?;
        Self::ALL
            .into_iter()
            .find(|status| status.name() == name)
            .ok_or_else(|| format!("expected the status of an operation, got {name:?}").into())
    }

    fn accepts(kind: &Type) -> bool {
        <&str as FromSql>::accepts(kind)
    }
}

/// A job that is asked for. It is born pending.
#[derive(Clone, Debug)]
pub struct NewOperation {
    /// Made by the caller, so that asking twice makes one job.
    pub id: Uuid,
    /// What kind of job.
    pub operation_type: String,
    /// Whose job.
    pub owner: String,
    /// Where its data comes from.
    pub source: String,
    /// What started it.
    pub triggered_by: String,
    /// What it is going to do, for people.
    pub message: String,
    /// Anything else; a JSON object.
    pub metadata: Value,
}

/// How far a job is. All counts are totals since it began, so that a report can be repeated.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Items dealt with, failed and skipped ones included.
    pub processed: i64,
    /// How many items there are; `None` leaves what was said before.
    pub total: Option<i64>,
    /// The item in hand; `None` leaves what was said before.
    pub current_item: Option<String>,
    /// What the job is doing, for people; `None` leaves what was said before.
    pub message: Option<String>,
    /// Items that failed.
    pub failed: i64,
    /// Items that were new at the target.
    pub inserted: i64,
    /// Items that were changed at the target.
    pub updated: i64,
    /// Items that were removed from the target.
    pub deleted: i64,
    /// Items that were already right.
    pub kept: i64,
    /// Items left out on purpose.
    pub skipped: i64,
    /// Counts by kind of item; a JSON object.
    pub entities: Value,
    /// Any other counts; a JSON object.
    pub counters: Value,
}

/// What went wrong with one item of a job.
#[derive(Clone, Debug)]
pub struct ItemError {
    /// Different for each error of a job, so that recording it twice records it once.
    pub number: i64,
    /// The item.
    pub item: String,
    /// What went wrong, for people.
    pub message: String,
    /// What went wrong, for programs.
    pub code: &'static str,
}

/// How a job ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Completed, failed or cancelled.
    pub status: Status,
    /// The last word, for people.
    pub message: String,
    /// Why it failed.
    pub error: Option<String>,
    /// Measurements of the run; a JSON object.
    pub performance: Value,
}
