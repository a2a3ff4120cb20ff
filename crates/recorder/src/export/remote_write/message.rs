//! The messages of remote-write 1.0, and their compressed form.

use prost::Message;
use virtmark_timeseries::SeriesKey;

use super::batch::Point;

/// `prometheus.WriteRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    pub(super) timeseries: Vec<TimeSeries>,
}

/// `prometheus.TimeSeries`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    pub(super) labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    pub(super) samples: Vec<Sample>,
}

/// `prometheus.Label`.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub(super) struct Label {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

/// `prometheus.Sample`. The value is always written: one that is left out for being zero loses its sign.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Sample {
    #[prost(double, required, tag = "1")]
    pub(super) value: f64,
    #[prost(int64, tag = "2")]
    pub(super) timestamp: i64,
}

/// Name and labels as remote-write wants them: sorted by bytes, `__name__` among them, none empty.
pub(super) fn labels_of(key: &SeriesKey) -> Vec<Label> {
    let label = |(name, value): (&str, &str)| Label { name: name.to_owned(), value: value.to_owned() };
    let given = key.labels().filter(|(_, value)| !value.is_empty());
    let mut labels: Vec<Label> = std::iter::once(("__name__", key.name())).chain(given).map(label).collect();
    labels.sort_by(|a, b| a.name.cmp(&b.name));
    labels
}

/// Most bytes that one series takes in a request, its samples not counted.
pub(super) fn series_bytes(labels: &[Label]) -> usize {
    let fields: usize = labels.iter().map(|label| 1 + MOST_LENGTH_BYTES + label.encoded_len()).sum();
    1 + MOST_LENGTH_BYTES + fields
}

/// Most bytes that one sample takes in a request: two of its own, and tag and value of a double and an int64.
pub(super) const SAMPLE_BYTES: usize = 2 + 9 + 11;

/// Most bytes of a length, for lengths below 32 GiB.
const MOST_LENGTH_BYTES: usize = 5;

/// The request's body: samples by series, in the order of time, encoded and compressed as one snappy block.
pub(super) fn body_of(points: &[Point], labels: &[Vec<Label>]) -> Vec<u8> {
    let encoded = request_of(points, labels).encode_to_vec();
    let compressed = snap::raw::Encoder::new().compress_vec(&encoded);
    compressed.expect("a request is far below the 4 GiB that a snappy block can hold")
}

fn request_of(points: &[Point], labels: &[Vec<Label>]) -> WriteRequest {
    let mut by_series: Vec<&Point> = points.iter().collect();
    by_series.sort_by_key(|point| (point.series, point.time_ms));
    let same = |a: &&Point, b: &&Point| a.series == b.series;
    let sample = |point: &&Point| Sample { value: point.value, timestamp: point.time_ms };
    let timeseries = by_series.chunk_by(same).map(|points| TimeSeries {
        labels: labels[points[0].series].clone(),
        samples: points.iter().map(sample).collect(),
    });
    WriteRequest { timeseries: timeseries.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Finite numbers of all sizes, and both zeros.
    fn value() -> impl Strategy<Value = f64> {
        any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |value| value.is_finite())
    }

    fn key(number: usize, values: &[String]) -> SeriesKey {
        let key = SeriesKey::new(format!("series_{number}")).unwrap();
        values.iter().enumerate().fold(key, |key, (at, value)| key.with(format!("l{at}"), value).unwrap())
    }

    #[test]
    fn labels_are_sorted_by_bytes_with_the_name_among_them() {
        let key = SeriesKey::new("name").unwrap();
        let key = key.with("zone", "z").unwrap().with("Zone", "Z").unwrap().with("empty", "").unwrap();
        let names: Vec<String> = labels_of(&key).into_iter().map(|label| label.name).collect();
        assert_eq!(names, ["Zone", "__name__", "zone"]);
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let labels = vec![labels_of(&SeriesKey::new("up").unwrap().with("a", "b").unwrap())];
        let points = [Point { series: 0, time_ms: 1, value: -0.0 }];
        let encoded = request_of(&points, &labels).encode_to_vec();
        let mut expected = vec![0x0A, 35];
        expected.extend_from_slice(b"\x0A\x0E\x0A\x08__name__\x12\x02up");
        expected.extend_from_slice(b"\x0A\x06\x0A\x01a\x12\x01b");
        expected.extend_from_slice(&[0x12, 11, 0x09, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x10, 1]);
        expected[1] = (expected.len() - 2) as u8;
        assert_eq!(encoded, expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn what_is_encoded_is_decoded_to_the_last_bit(
            labels in prop::collection::vec(prop::collection::vec(".{0,20}", 0..4), 1..5),
            samples in prop::collection::vec((any::<prop::sample::Index>(), value()), 1..40),
        ) {
            let keys: Vec<SeriesKey> = labels.iter().enumerate().map(|(at, values)| key(at, values)).collect();
            let labels: Vec<Vec<Label>> = keys.iter().map(labels_of).collect();
            let point = |(at, (series, value)): (usize, &(prop::sample::Index, f64))| {
                Point { series: series.index(keys.len()), time_ms: 1_700_000_000_000 + at as i64, value: *value }
            };
            let points: Vec<Point> = samples.iter().enumerate().map(point).collect();

            let bytes = snap::raw::Decoder::new().decompress_vec(&body_of(&points, &labels)).unwrap();
            let decoded = WriteRequest::decode(bytes.as_slice()).unwrap();

            let mut found = Vec::new();
            for series in &decoded.timeseries {
                let at = labels.iter().position(|known| *known == series.labels).unwrap();
                prop_assert!(series.labels.is_sorted_by(|a, b| a.name < b.name));
                prop_assert!(series.samples.is_sorted_by(|a, b| a.timestamp < b.timestamp));
                found.extend(series.samples.iter().map(|sample| (sample.timestamp, at, sample.value.to_bits())));
            }
            found.sort_unstable();
            let given: Vec<_> =
                points.iter().map(|point| (point.time_ms, point.series, point.value.to_bits())).collect();
            prop_assert_eq!(found, given);

            let used: std::collections::BTreeSet<usize> = points.iter().map(|point| point.series).collect();
            let most: usize = used.iter().map(|series| series_bytes(&labels[*series])).sum();
            prop_assert!(bytes.len() <= most + points.len() * SAMPLE_BYTES);
        }
    }
}
