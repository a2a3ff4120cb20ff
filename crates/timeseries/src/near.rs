//! Names that are nearly the one asked for.

/// Up to `limit` of `names`, nearest first: those that contain the wanted text or are few edits away.
pub(crate) fn near_names(wanted: &str, names: impl IntoIterator<Item = String>, limit: usize) -> Vec<String> {
    let allowed = wanted.chars().count().div_ceil(3).max(2);
    let mut near: Vec<(usize, String)> = names
        .into_iter()
        .filter_map(|name| {
            let part = !wanted.is_empty() && (name.contains(wanted) || wanted.contains(&name));
            // The ending of counters is what people leave out.
            let edits = edits(wanted, &name).min(edits(wanted, name.strip_suffix("_total").unwrap_or(&name)));
            (part || edits <= allowed).then_some((edits, name))
        })
        .collect();
    near.sort();
    near.dedup();
    near.into_iter().take(limit).map(|(_, name)| name).collect()
}

/// Insertions, deletions and replacements from one text to the other (Levenshtein distance).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_textbook() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("same", "same"), 0);
    }

    #[test]
    fn nearest_comes_first_and_strangers_not_at_all() {
        let names = ["vcpu_exits_total", "vcpu_steal_seconds_total", "net_bytes_total", "vcpu_exit_total"];
        let names = || names.iter().map(|name| (*name).to_owned());
        assert_eq!(near_names("vcpu_exits_totl", names(), 3), ["vcpu_exits_total", "vcpu_exit_total"]);
        assert_eq!(near_names("vcpu_steal_secnds", names(), 3), ["vcpu_steal_seconds_total"]);
        assert_eq!(near_names("steal", names(), 3), ["vcpu_steal_seconds_total"]);
        assert!(near_names("zzz", names(), 3).is_empty());
    }
}
