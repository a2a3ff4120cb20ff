//! Cutting what was drained into requests.

use std::collections::HashSet;

/// A sample that is pushed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// Place of the series in the reader.
    pub(super) series: usize,
    /// Milliseconds since 1970.
    pub(super) time_ms: i64,
    pub(super) value: f64,
}

/// How large a request may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_samples: usize,
    pub(super) max_bytes: usize,
}

/// Cuts points, in the order of time, into requests that keep to the limits; none is empty.
///
/// Points of one time go together, or, where they are too many, into requests of their own: so that whatever is sent
/// again later, in larger or smaller requests, a part of one time arrived as a whole or not at all.
pub(super) fn split<'a>(
    points: &'a [Point],
    limits: Limits,
    series_bytes: &dyn Fn(usize) -> usize,
    sample_bytes: usize,
) -> Vec<&'a [Point]> {
    let mut requests = Vec::new();
    let (mut start, mut end, mut bytes) = (0, 0, 0);
    let mut named = HashSet::new();
    for time in times(points) {
        let named_too = |point: &&Point| named.contains(&point.series);
        let all: usize = time.iter().map(|point| series_bytes(point.series) + sample_bytes).sum();
        let saved: usize = time.iter().filter(named_too).map(|point| series_bytes(point.series)).sum();
        let fits = |samples: usize, bytes: usize| samples <= limits.max_samples && bytes <= limits.max_bytes;
        if !fits(end + time.len() - start, bytes + all - saved) {
            if end > start {
                requests.push(&points[start..end]);
            }
            (start, bytes) = (end, 0);
            named.clear();
            if !fits(time.len(), all) {
                requests.extend(cut(time, limits, series_bytes, sample_bytes));
                end += time.len();
                start = end;
                continue;
            }
        }
        let fresh = time.iter().filter(|point| named.insert(point.series));
        bytes += fresh.map(|point| series_bytes(point.series)).sum::<usize>() + time.len() * sample_bytes;
        end += time.len();
    }
    if end > start {
        requests.push(&points[start..end]);
    }
    requests
}

/// The points of each time.
pub(super) fn times(points: &[Point]) -> impl Iterator<Item = &[Point]> {
    points.chunk_by(|a, b| a.time_ms == b.time_ms)
}

/// Cuts the points of one time, as many together as fit, one at least.
fn cut<'a>(
    time: &'a [Point],
    limits: Limits,
    series_bytes: &dyn Fn(usize) -> usize,
    sample_bytes: usize,
) -> Vec<&'a [Point]> {
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, point) in time.iter().enumerate() {
        let more = series_bytes(point.series) + sample_bytes;
        if at > start && (at - start >= limits.max_samples || bytes + more > limits.max_bytes) {
            parts.push(&time[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += more;
    }
    parts.push(&time[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLE_BYTES: usize = 10;

    fn series_bytes(series: usize) -> usize {
        20 + 30 * series
    }

    fn fits(points: &[Point], limits: Limits) -> bool {
        let series: std::collections::BTreeSet<usize> = points.iter().map(|point| point.series).collect();
        let labels: usize = series.into_iter().map(series_bytes).sum();
        points.len() <= limits.max_samples && labels + points.len() * SAMPLE_BYTES <= limits.max_bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn requests_keep_to_the_limits_and_hold_everything_once(
            times in prop::collection::vec(prop::collection::btree_set(0usize..12, 1..12), 0..20),
            max_samples in 1usize..40,
            max_bytes in 1usize..3000,
        ) {
            let point = |time: usize, series: usize| Point { series, time_ms: time as i64, value: 1.0 };
            let points: Vec<Point> = times.iter().enumerate()
                .flat_map(|(time, series)| series.iter().map(move |series| point(time, *series)))
                .collect();
            let limits = Limits { max_samples, max_bytes };
            let requests = split(&points, limits, &series_bytes, SAMPLE_BYTES);

            prop_assert_eq!(&requests.concat(), &points);
            for request in &requests {
                prop_assert!(!request.is_empty());
                let alone = request.len() == 1;
                prop_assert!(alone || fits(request, limits));
            }
            let of_time = |time_ms: i64| -> Vec<Point> {
                points.iter().copied().filter(|point| point.time_ms == time_ms).collect()
            };
            for pair in requests.windows(2) {
                let was_cut = pair[0].len() < of_time(pair[0].last().unwrap().time_ms).len();
                let one_more = [pair[0], &of_time(pair[1][0].time_ms)].concat();
                prop_assert!(was_cut || !fits(&one_more, limits), "more would have fitted");
            }
            for pair in requests.windows(2) {
                let (last, next) = (pair[0][pair[0].len() - 1], pair[1][0]);
                if last.time_ms == next.time_ms {
                    let one_time = |request: &[Point]| request.iter().all(|point| point.time_ms == last.time_ms);
                    prop_assert!(one_time(pair[0]) && one_time(pair[1]));
                }
            }
        }
    }
}
