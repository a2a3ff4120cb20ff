//! Which run a user means.

use crate::{Archive, Error, Result};

/// Names the newest run.
const LATEST: &str = "latest";
/// How many ids an error names.
const SHOWN: usize = 5;

/// The one id that `selector` names: exactly, by its start, or as `latest`.
pub(crate) fn resolve(archive: &Archive, selector: &str) -> Result<String> {
    let ids = newest_first(archive)?;
    if selector == LATEST {
        return ids.into_iter().next().ok_or_else(|| Error::NoRuns { path: archive.path().to_owned() });
    }
    choose(&ids, selector)
}

fn newest_first(archive: &Archive) -> Result<Vec<String>> {
    let read = || {
        let mut statement =
            archive.connection.prepare_cached("SELECT id FROM runs ORDER BY started_at DESC, id DESC")?;
        statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()
    };
    read().map_err(|error| archive.context("finding a run").explain(error))
}

fn choose(ids: &[String], selector: &str) -> Result<String> {
    if ids.iter().any(|id| id == selector) {
        return Ok(selector.to_owned());
    }
    let fitting: Vec<&String> =
        ids.iter().filter(|id| !selector.is_empty() && id.starts_with(selector)).collect();
    match fitting[..] {
        [] => Err(Error::UnknownRun { selector: selector.to_owned(), near: near(ids, selector) }),
        [id] => Ok(id.clone()),
        _ => Err(Error::AmbiguousRun {
            selector: selector.to_owned(),
            total: fitting.len(),
            candidates: fitting.into_iter().take(SHOWN).cloned().collect(),
        }),
    }
}

/// Ids that differ from `selector`, or whose start does, in at most a third of its letters; nearest first.
fn near(ids: &[String], selector: &str) -> Vec<String> {
    let mut ranked: Vec<(usize, &String)> = ids
        .iter()
        .map(|id| (distance_to_start(selector, id), id))
        .filter(|(distance, _)| distance * 3 <= selector.len())
        .collect();
    // Stable: of equally near ones the newest stays first.
    ranked.sort_by_key(|(distance, _)| *distance);
    ranked.into_iter().take(SHOWN).filter(|_| !selector.is_empty()).map(|(_, id)| id.clone()).collect()
}

/// The smallest number of letters to insert, remove or replace to make `typed` a start of `id`
/// (Levenshtein's distance, least over the last row of its table).
fn distance_to_start(typed: &str, id: &str) -> usize {
    let id = id.as_bytes();
    let mut row: Vec<usize> = (0..=id.len()).collect();
    for (line, letter) in typed.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for column in 1..=id.len() {
            let replaced = diagonal + usize::from(id[column - 1] != letter);
            diagonal = row[column];
            row[column] = replaced.min(row[column] + 1).min(row[column - 1] + 1);
        }
    }
    row.into_iter().min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids() -> Vec<String> {
        ["tti-20260103-000000-bbbbbb", "tti-20260102-030405-a1b2c3", "restore-20260101-000000-cccccc"]
            .map(String::from)
            .to_vec()
    }

    #[test]
    fn a_whole_id_or_its_start_is_enough() {
        assert_eq!(choose(&ids(), "tti-20260103-000000-bbbbbb").unwrap(), ids()[0]);
        assert_eq!(choose(&ids(), "r").unwrap(), ids()[2]);
    }

    #[test]
    fn an_id_that_starts_another_means_itself() {
        let ids = ["a-1".to_owned(), "a-12".to_owned()];
        assert_eq!(choose(&ids, "a-1").unwrap(), "a-1");
    }

    #[test]
    fn several_fitting_ids_are_listed() {
        let error = choose(&ids(), "tti-").unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"tti-\" fits 2 runs: tti-20260103-000000-bbbbbb, tti-20260102-030405-a1b2c3; give more of the id"
        );
    }

    #[test]
    fn a_slip_gets_the_near_ids() {
        let Err(Error::UnknownRun { near, .. }) = choose(&ids(), "tti-20260102-0304O5") else { panic!() };
        assert_eq!(near[0], ids()[1]);
        let Err(Error::UnknownRun { near, .. }) = choose(&ids(), "density") else { panic!() };
        assert!(near.is_empty(), "{near:?}");
        assert!(matches!(choose(&ids(), ""), Err(Error::UnknownRun { .. })));
    }

    /// Levenshtein's distance by its recursive definition.
    fn naive(left: &[u8], right: &[u8]) -> usize {
        match (left, right) {
            ([], rest) | (rest, []) => rest.len(),
            ([a, left_rest @ ..], [b, right_rest @ ..]) => (naive(left_rest, right_rest)
                + usize::from(a != b))
            .min(naive(left_rest, right) + 1)
            .min(naive(left, right_rest) + 1),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_distance_is_the_least_over_all_starts(typed in "[ab]{0,5}", id in "[ab]{0,6}") {
            let expected = (0..=id.len()).map(|end| naive(typed.as_bytes(), &id.as_bytes()[..end])).min().unwrap();
            prop_assert_eq!(distance_to_start(&typed, &id), expected);
        }
    }
}
