//! What is said of many measurements: percentiles of ages, medians over rounds.

/// The percentiles that are reported of a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
}

impl Percentiles {
    /// Of all values, none thrown away; `None` where there are none.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let at = |share: f64| values[(last as f64 * share).round() as usize];
        Some(Self {
            p50: at(0.50),
            p90: at(0.90),
            p99: at(0.99),
        })
    }

    /// The median over rounds of each percentile.
    pub(crate) fn median(rounds: &[Self]) -> Option<Self> {
        let of = |pick: fn(&Self) -> f64| median(rounds.iter().map(pick));
        Some(Self {
            p50: of(|round| round.p50)?,
            p90: of(|round| round.p90)?,
            p99: of(|round| round.p99)?,
        })
    }
}

/// The middle value; the mean of the two middle ones where their number is even.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// The least and the greatest, which is how noisy the rounds were.
pub(crate) fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().fold(None, |range, value| {
        let (least, most) = range.unwrap_or((value, value));
        Some((least.min(value), most.max(value)))
    })
}
