use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::testing;

const RELEASE: &str = "6.1.0-9-test";

/// A modules directory; `needs[n]` lists the modules below `n` that `n` needs, so there are no circles.
fn directory(needs: &[Vec<usize>], with_list: bool) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("kernel/d")).unwrap();
    let file = |n: usize| format!("kernel/d/{}.ko", name(n).replace('_', "-"));
    let mut list = String::new();
    for (n, direct) in needs.iter().enumerate() {
        let depends: Vec<String> = direct.iter().map(|d| name(*d)).collect();
        let depends: Vec<&str> = depends.iter().map(String::as_str).collect();
        fs::write(dir.path().join(file(n)), testing::module(&name(n), &depends, RELEASE)).unwrap();
        let all: Vec<String> = all_needs(needs, n).into_iter().rev().map(file).collect();
        list += &format!("{}: {}\n", file(n), all.join(" "));
    }
    if with_list {
        fs::write(dir.path().join("modules.dep"), list).unwrap();
    }
    dir
}

/// Names whose order is not the order of needs.
fn name(n: usize) -> String {
    format!("m_{}", (n * 7 + 3) % 10)
}

fn all_needs(needs: &[Vec<usize>], n: usize) -> BTreeSet<usize> {
    needs[n].iter().flat_map(|d| all_needs(needs, *d).into_iter().chain([*d])).collect()
}

fn graphs() -> impl Strategy<Value = Vec<Vec<usize>>> {
    proptest::collection::vec(proptest::collection::btree_set(0usize..10, 0..4), 10).prop_map(|raw| {
        raw.into_iter().enumerate().map(|(n, below)| below.into_iter().filter(|d| *d < n).collect()).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn both_sources_give_one_order_in_which_everything_comes_after_its_needs(needs in graphs()) {
        let wanted = [name(9), name(4)];
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let mut seen = Vec::new();
        for with_list in [true, false] {
            let dir = directory(&needs, with_list);
            let selection = select(dir.path(), RELEASE, &wanted[..1], &wanted[1..]).unwrap();
            let names: Vec<String> = selection.modules.iter().map(|m| m.name.clone()).collect();

            let expected: BTreeSet<String> = [9, 4]
                .iter()
                .flat_map(|n| all_needs(&needs, *n).into_iter().chain([*n]))
                .map(name)
                .collect();
            prop_assert_eq!(names.iter().cloned().collect::<BTreeSet<_>>(), expected);
            for (n, module) in (0..10).map(|n| (n, name(n))) {
                let Some(at) = names.iter().position(|other| *other == module) else { continue };
                for need in all_needs(&needs, n) {
                    prop_assert!(names[..at].contains(&name(need)));
                }
                let below: BTreeSet<String> = all_needs(&needs, n).into_iter().map(name).collect();
                prop_assert_eq!(selection.modules[at].needs.iter().cloned().collect::<BTreeSet<_>>(), below);
            }
            let early: BTreeSet<String> = all_needs(&needs, 9).into_iter().chain([9]).map(name).collect();
            prop_assert_eq!(selection.early.iter().cloned().collect::<BTreeSet<_>>(), early);
            seen.push((names, selection.early, selection.modules.into_iter().map(|m| m.needs).collect::<Vec<_>>()));
        }
        prop_assert_eq!(&seen[0], &seen[1]);
    }
}

#[test]
fn built_in_modules_are_fine_and_missing_early_ones_are_named() {
    let dir = directory(&[vec![], vec![0]], false);
    fs::write(
        dir.path().join("modules.builtin"),
        format!("kernel/x/built-in-one.ko\nkernel/x/{}.ko\n", name(0)),
    )
    .unwrap();
    let early = name(1);
    let selection = select(dir.path(), RELEASE, &["built_in_one", early.as_str()], &["not_there"]).unwrap();
    assert_eq!(selection.builtin, ["built_in_one"]);
    assert_eq!(selection.absent, ["not_there"]);
    assert_eq!(selection.early, [early]);
    assert!(selection.modules[0].needs.is_empty());

    let error = select(dir.path(), RELEASE, &["not_there"], &[]).unwrap_err();
    assert!(error.to_string().contains("not_there"), "{error}");
}

#[test]
fn modules_of_another_kernel_are_refused() {
    let dir = directory(&[vec![]], false);
    let error = select(dir.path(), "6.6.0", &[name(0).as_str()], &[]).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(RELEASE) && text.contains("6.6.0"), "{text}");
}

#[test]
fn a_circle_is_an_error_and_not_a_hang() {
    let dir = tempfile::tempdir().unwrap();
    for (module, need) in [("a", "b"), ("b", "a")] {
        let file = dir.path().join(format!("{module}.ko"));
        fs::write(file, testing::module(module, &[need], RELEASE)).unwrap();
    }
    let error = select(dir.path(), RELEASE, &["a"], &[]).unwrap_err();
    assert!(matches!(error, ImageError::ModuleCycle { .. }), "{error}");
}

#[test]
fn compressed_and_signed_modules_come_out_plain() {
    let plain = testing::module("m", &[], RELEASE);
    let mut signed = [&plain[..], &[5; 64], &[0, 0, 2, 0, 0, 0, 0, 0], &[0, 0, 0, 64]].concat();
    signed.extend(b"~Module signature appended~\n");
    for (compression, packed) in testing::compressions(&signed) {
        let ending = match compression {
            "gzip" => "gz",
            "xz" => "xz",
            "zstd" => "zst",
            _ => continue,
        };
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(format!("m.ko.{ending}")), packed).unwrap();
        let selection = select(dir.path(), RELEASE, &["m"], &[]).unwrap();
        assert_eq!(selection.modules[0].bytes, plain, "{ending}");
    }
}
