//! The CPUs that this process may use, as the kernel lists them and as `taskset -c` takes them.

/// The CPUs that this process may use, in rising order; none where the kernel does not tell.
pub(crate) fn allowed() -> Option<Vec<usize>> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    parse(status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?)
}

/// The CPUs of a list such as `0-2,5` (cpuset(7)); none where it is no such list.
fn parse(list: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(first.parse::<usize>().ok()?..=last.parse().ok()?);
    }
    Some(cpus)
}

/// A list of CPUs, each by its number.
pub(crate) fn list(cpus: &[usize]) -> String {
    cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read_and_written() {
        assert_eq!(parse("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(parse("\t0-2,5,8-9\n"), Some(vec![0, 1, 2, 5, 8, 9]));
        assert_eq!(parse("3"), Some(vec![3]));
        assert_eq!(parse("x"), None);
        assert_eq!(parse(""), None);
        assert_eq!(list(&[0, 3]), "0,3");
        assert!(allowed().is_some_and(|cpus| !cpus.is_empty()));
    }
}
