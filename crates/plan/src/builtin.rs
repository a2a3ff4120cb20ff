//! The plans that are part of the program.

const PLANS: [(&str, &str); 4] = [
    ("concat_plan", include_str!("../../../plans/concat_plan.json")),
    ("parallel_sleep_plan", include_str!("../../../plans/parallel_sleep_plan.json")),
    ("reels_plan_a", include_str!("../../../plans/reels_plan_a.json")),
    ("regex_plan", include_str!("../../../plans/regex_plan.json")),
];

/// Names of the plans that are built in.
pub fn builtin_names() -> impl ExactSizeIterator<Item = &'static str> {
    PLANS.iter().map(|(name, _)| *name)
}

/// The file of a plan that is built in, to be read or written out.
pub fn text(name: &str) -> Option<&'static str> {
    PLANS.iter().find(|(plan, _)| *plan == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Plan;

    #[test]
    fn every_plan_is_sound_and_called_as_its_file() {
        for name in builtin_names() {
            let plan = Plan::builtin(name).unwrap();
            assert_eq!(plan.name(), name);
            assert_eq!(plan.is_offline(), name != "reels_plan_a", "{name}");
            assert!(!plan.description().is_empty());
            assert_eq!(plan.parameters()[0].name, "user_id");
        }
    }

    #[test]
    fn plans_with_branches_overlap() {
        let overlaps = |name| Plan::builtin(name).unwrap().overlaps();
        assert!(overlaps("parallel_sleep_plan") && overlaps("reels_plan_a"));
        assert!(!overlaps("concat_plan") && !overlaps("regex_plan"));
    }
}
