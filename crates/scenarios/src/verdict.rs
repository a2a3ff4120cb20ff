//! What a comparison with a target of the hypervisor guide comes to.

use serde::{Deserialize, Serialize};

/// What a grade comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Within the target.
    Met,
    /// Not within the target.
    Missed,
    /// The guide has no target for it.
    NoTarget,
    /// Nothing was measured.
    NotMeasured,
}

impl Verdict {
    /// What `value` comes to, which `holds` compares with the target.
    pub(crate) fn of<T>(value: Option<f64>, target: Option<T>, holds: impl FnOnce(f64, T) -> bool) -> Self {
        match (value, target) {
            (None, _) => Self::NotMeasured,
            (_, None) => Self::NoTarget,
            (Some(value), Some(target)) => {
                if holds(value, target) {
                    Self::Met
                } else {
                    Self::Missed
                }
            }
        }
    }
}
