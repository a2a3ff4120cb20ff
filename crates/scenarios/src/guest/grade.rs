//! How an overhead compares with the targets of the hypervisor guide.

use std::fmt;

use serde::{Deserialize, Serialize};
use virtmark_stats::Interval;

use super::overhead::Field;

/// Limits in percent. Source: "Hypervisor Performance Benchmarking Guide", table "Resource Overhead Targets": an overhead
/// below the first is on target, below the second acceptable, and needs optimisation otherwise. The guide has none for
/// `iops_native_ratio`.
const LIMITS_PERCENT: [(Field, f64, f64); 4] = [
    (Field::Cpu, 3.0, 5.0),
    (Field::Memory, 5.0, 8.0),
    (Field::Storage, 2.0, 5.0),
    (Field::Network, 3.0, 5.0),
];

/// What an overhead comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// All of the interval is below the first limit.
    Target,
    /// All of the interval is from the first limit on and below the second.
    Acceptable,
    /// All of the interval is from the second limit on.
    NeedsOptimisation,
    /// A limit lies within the interval, or there are too few blocks for an interval.
    CannotTell,
    /// The guide has no target.
    NoTarget,
    /// Nothing was measured.
    NotMeasured,
}

impl Grade {
    /// Grades an overhead in percent. It is the interval that decides, not the point in it.
    pub fn new(field: Field, point_percent: Option<f64>, interval_percent: Option<Interval>) -> Self {
        let limits = LIMITS_PERCENT.iter().find(|(graded, ..)| *graded == field);
        match (point_percent, limits, interval_percent) {
            (None, ..) => Self::NotMeasured,
            (_, None, _) => Self::NoTarget,
            (_, _, None) => Self::CannotTell,
            (_, Some(&(_, target, acceptable)), Some(Interval { low, high, .. })) => {
                if high < target {
                    Self::Target
                } else if low >= acceptable {
                    Self::NeedsOptimisation
                } else if low >= target && high < acceptable {
                    Self::Acceptable
                } else {
                    Self::CannotTell
                }
            }
        }
    }

    /// The grade with the limits that it was given by, as in `on target (<3 %)`.
    pub fn text(self, field: Field) -> String {
        let limits = LIMITS_PERCENT.iter().find(|(graded, ..)| *graded == field);
        match (self, limits) {
            (Self::Target, Some((_, target, _))) => format!("{self} (<{target} %)"),
            (Self::Acceptable, Some((_, _, acceptable))) => format!("{self} (<{acceptable} %)"),
            (Self::NeedsOptimisation, Some((_, _, acceptable))) => format!("{self} (≥{acceptable} %)"),
            (Self::CannotTell, Some((_, target, acceptable))) => {
                format!("{self} (limits {target} % and {acceptable} %)")
            }
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Acceptable => "acceptable",
            Self::CannotTell => "cannot tell",
            Self::NeedsOptimisation => "needs optimisation",
            Self::NoTarget => "no target",
            Self::NotMeasured => "not measured",
            Self::Target => "on target",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grade(field: Field, low: f64, high: f64) -> Grade {
        let interval = Interval { low, high, level: 0.95 };
        Grade::new(field, Some(f64::midpoint(low, high)), Some(interval))
    }

    #[test]
    fn the_interval_decides() {
        assert_eq!(grade(Field::Cpu, -1.0, 2.9), Grade::Target);
        assert_eq!(grade(Field::Cpu, 3.0, 4.9), Grade::Acceptable);
        assert_eq!(grade(Field::Cpu, 5.0, 90.0), Grade::NeedsOptimisation);
        // A limit is not below itself.
        assert_eq!(grade(Field::Cpu, 1.0, 3.0), Grade::CannotTell);
        assert_eq!(grade(Field::Cpu, 4.0, 5.0), Grade::CannotTell);
        assert_eq!(grade(Field::Cpu, 1.0, 20.0), Grade::CannotTell);
        assert_eq!(grade(Field::Memory, 5.0, 7.9), Grade::Acceptable);
        assert_eq!(grade(Field::Storage, 0.0, 1.9), Grade::Target);
        assert_eq!(grade(Field::Network, 6.0, 6.0), Grade::NeedsOptimisation);
        assert_eq!(grade(Field::Iops, 0.0, 1.0), Grade::NoTarget);
        assert_eq!(Grade::new(Field::Cpu, None, None), Grade::NotMeasured);
        assert_eq!(Grade::new(Field::Cpu, Some(0.1), None), Grade::CannotTell);
    }

    #[test]
    fn the_words_have_the_limit() {
        assert_eq!(Grade::Target.text(Field::Cpu), "on target (<3 %)");
        assert_eq!(Grade::NeedsOptimisation.text(Field::Memory), "needs optimisation (≥8 %)");
        assert_eq!(Grade::CannotTell.text(Field::Storage), "cannot tell (limits 2 % and 5 %)");
        assert_eq!(Grade::NoTarget.text(Field::Iops), "no target");
    }

    proptest! {
        /// Whatever point of the interval the truth is, the grade is that of a sharp interval there, or says nothing.
        #[test]
        fn a_grade_is_true_of_every_point_of_its_interval(low in -10.0f64..20.0, width in 0.0f64..10.0, at in 0.0f64..=1.0) {
            for field in [Field::Cpu, Field::Memory, Field::Storage, Field::Network] {
                let wide = grade(field, low, low + width);
                let truth = low + width * at;
                let sharp = grade(field, truth, truth);
                prop_assert_ne!(sharp, Grade::CannotTell);
                prop_assert!(wide == Grade::CannotTell || wide == sharp, "{:?} {:?}", wide, sharp);
            }
        }
    }
}
