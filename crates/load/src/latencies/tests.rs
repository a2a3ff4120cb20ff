//! Buckets against the exact values, and documents that are none.

use proptest::prelude::*;
use virtmark_stats::percentile;

use super::*;

#[test]
fn buckets_are_those_of_an_hdr_histogram() {
    let histogram = empty_histogram();
    for ns in (0..64).flat_map(|bit| [1_u64 << bit, (1 << bit) + 1, (1 << bit) - 1]).chain(0..5000) {
        let ns = ns.min(HIGHEST_NS);
        let lowest = lowest_of(index_of(ns));
        assert_eq!(lowest, histogram.lowest_equivalent(ns), "{ns}");
        assert_eq!(index_of(lowest), index_of(histogram.highest_equivalent(ns)), "{ns}");
    }
    assert_eq!(index_of(u64::MAX), GROUPS * GROUP - 1);
}

#[test]
fn without_latencies_there_are_no_figures() {
    let none = Latencies::new();
    assert_eq!((none.percentile_ns(50.0), none.min_ns(), none.max_ns()), (None, None, None));
    assert!(!none.supports(50.0));
    assert_eq!(read(&written(&none)).unwrap(), none);
}

#[test]
fn latencies_beyond_the_last_bucket_are_kept_exactly() {
    let day_ns = 86_400_000_000_000;
    let mut latencies = Latencies::new();
    latencies.record(day_ns);
    assert_eq!(latencies.percentile_ns(50.0), Some(day_ns));
    assert_eq!(read(&written(&latencies)).unwrap(), latencies);
}

#[test]
fn a_document_that_contradicts_itself_is_refused() {
    let mut latencies = Latencies::new();
    [5_000, 5_003, 70_000].into_iter().for_each(|ns| latencies.record(ns));
    let good = written(&latencies);
    for (from, to) in [
        ("\"count\":3", "\"count\":4"),
        ("\"min_ns\":5000", "\"min_ns\":4999"),
        ("\"max_ns\":70000", "\"max_ns\":70001"),
        ("\"hdr\":\"HIST", "\"hdr\":\"GIST"),
        ("[3,", "[4,"),
        ("[3,", "["),
        ("[3,", "[3,0,"),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good, "{from}");
        assert!(read(&bad).is_err(), "{bad}");
    }
}

/// The deflated encoding of these bytes.
fn deflated(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, plain).unwrap();
    let deflated = encoder.finish().unwrap();
    [&DEFLATED_COOKIE[..], &(deflated.len() as u32).to_be_bytes(), &deflated].concat()
}

/// A document with these bytes as its histogram, deflated.
fn with_histogram(plain: &[u8], count: u64) -> String {
    let (hdr, above) = (BASE64.encode(deflated(plain)), [0, 0]);
    serde_json::json!({
        "count": count, "min_ns": 0, "max_ns": 1, "hdr": hdr, "largest_above_lowest_ns": above
    })
    .to_string()
}

/// The head of the plain encoding, and a payload.
fn plain(payload_bytes: u32, high: u64, payload: &[u8]) -> Vec<u8> {
    let mut plain = vec![0x1c, 0x84, 0x93, 0x13];
    plain.extend(payload_bytes.to_be_bytes());
    plain.extend([0, 0, 0, 0, 0, 0, 0, SIGNIFICANT_DIGITS, 0, 0, 0, 0, 0, 0, 0, 1]);
    plain.extend(high.to_be_bytes());
    plain.extend(1_f64.to_be_bytes());
    plain.extend(payload);
    plain
}

#[test]
fn a_histogram_makes_no_more_room_than_it_has_bytes() {
    assert_eq!(read(&with_histogram(&plain(2, HIGHEST_NS, &[2, 4]), 3)).unwrap().count(), 3);
    for (what, plain) in [
        ("4 GiB", plain(u32::MAX, HIGHEST_NS, &[2, 4])),
        ("less than there is", plain(1, HIGHEST_NS, &[2, 4])),
        ("other bounds", plain(2, u64::MAX / 2, &[2, 4])),
        ("nothing", Vec::new()),
        ("a head only", plain(0, HIGHEST_NS, &[])[..30].to_vec()),
        ("zeros without end", vec![0; 64 << 20]),
        // As long as it says, counted as the plain encoding.
        ("deflated twice", [deflated(&plain(u32::MAX, HIGHEST_NS, &[2, 4])), vec![0; 32]].concat()),
    ] {
        assert!(read(&with_histogram(&plain, 3)).is_err(), "{what}");
    }
}

#[test]
fn counts_that_exceed_all_numbers_are_refused() {
    // Twice 2^63 - 1, and once 2: more than fits.
    let most = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let payload = [&most[..], &most[..], &[4]].concat();
    let plain = plain(payload.len() as u32, HIGHEST_NS, &payload);
    let document = with_histogram(&plain, 0).replace("[0,0]", "[0,0,0]");
    assert!(read(&document).unwrap_err().to_string().contains("more latencies than can be counted"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn percentiles_are_observed_and_near_the_exact_ones(
        ns in prop::collection::vec(prop_oneof![0_u64..3000, 0_u64..10_000_000_000], 1..400),
        thousandths in 0_u32..=100_000,
        workers in 1_usize..5,
    ) {
        let p = f64::from(thousandths) / 1000.0;
        let mut merged = Latencies::new();
        for part in ns.chunks(ns.len().div_ceil(workers)) {
            let mut one = Latencies::new();
            part.iter().for_each(|ns| one.record(*ns));
            merged.merge(&one);
        }
        let samples: Vec<f64> = ns.iter().map(|ns| *ns as f64).collect();
        let exact = percentile(&samples, p).unwrap();
        let found = merged.percentile_ns(p).unwrap();
        prop_assert!(ns.contains(&found));
        prop_assert!(found as f64 >= exact.value && found as f64 <= exact.value * 1.001, "{found} {exact:?}");
        prop_assert_eq!(merged.supports(p), exact.supported);
        prop_assert_eq!(merged.min_ns(), ns.iter().min().copied());
        prop_assert_eq!(merged.max_ns(), ns.iter().max().copied());
        prop_assert_eq!(merged.percentile_ns(0.0), merged.min_ns());
        prop_assert_eq!(merged.percentile_ns(100.0), merged.max_ns());
        prop_assert_eq!(read(&written(&merged)).unwrap(), merged);
    }
}

fn written(latencies: &Latencies) -> String {
    serde_json::to_string(latencies).unwrap()
}

fn read(text: &str) -> serde_json::Result<Latencies> {
    serde_json::from_str(text)
}
