//! Latencies in buckets, every figure of which was observed.

use std::fmt;
use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

/// Bits of a value that its bucket keeps: the layout of an HdrHistogram with three significant digits.
const PRECISION_BITS: u32 = 11;
const SIGNIFICANT_DIGITS: u8 = 3;
/// Values from here on share the last bucket: 73 minutes.
const HIGHEST_NS: u64 = (1 << 42) - 1;
/// Buckets that come into being together: those of a power of two.
const GROUP: usize = 1 << (PRECISION_BITS - 1);
const GROUPS: usize = index_of(HIGHEST_NS) / GROUP + 1;
/// A percentile is held in parts of this, so that 99.9 is exactly 999/1000.
const WHOLE: u64 = 100_000_000;
/// Of HdrHistogram's V2 encoding: cookie and length in front of the deflated one, the head of the plain one, and at most nine
/// bytes (LEB128-64b9B) for the count of a bucket.
const DEFLATED_COOKIE: [u8; 4] = [0x1c, 0x84, 0x93, 0x14];
const PLAIN_COOKIE: [u8; 4] = [0x1c, 0x84, 0x93, 0x13];
const DEFLATED_HEAD_BYTES: usize = 8;
const PLAIN_HEAD_BYTES: usize = 40;
const MOST_PLAIN_BYTES: usize = PLAIN_HEAD_BYTES + 9 * GROUPS * GROUP;

/// Latencies in nanoseconds, in the buckets of an HdrHistogram with three significant digits. Each bucket keeps the
/// largest latency that fell into it, so that every percentile is one that was observed.
#[derive(Clone, PartialEq, Eq)]
pub struct Latencies {
    /// None where no latency fell: many workers have some each.
    groups: [Option<Box<Group>>; GROUPS],
    count: u64,
    min_ns: u64,
    max_ns: u64,
}

/// Count and largest latency of each bucket.
type Group = [[u64; 2]; GROUP];

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Latencies {
    /// Some figures: buckets would fill pages.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut figures = formatter.debug_struct("Latencies");
        figures
            .field("count", &self.count)
            .field("min_ns", &self.min_ns())
            .field("p50_ns", &self.percentile_ns(50.0));
        figures
            .field("p99_ns", &self.percentile_ns(99.0))
            .field("max_ns", &self.max_ns())
            .finish_non_exhaustive()
    }
}

impl Latencies {
    /// No latencies.
    pub fn new() -> Self {
        Self { groups: [const { None }; GROUPS], count: 0, min_ns: u64::MAX, max_ns: 0 }
    }

    /// Adds one.
    pub fn record(&mut self, ns: u64) {
        self.add(index_of(ns), [1, ns]);
        self.count += 1;
        self.min_ns = ns.min(self.min_ns);
        self.max_ns = ns.max(self.max_ns);
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: &Self) {
        other.filled().for_each(|(index, bucket)| self.add(index, bucket));
        self.count += other.count;
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The smallest.
    pub fn min_ns(&self) -> Option<u64> {
        (self.count > 0).then_some(self.min_ns)
    }

    /// The largest.
    pub fn max_ns(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max_ns)
    }

    /// The `p`-th percentile by nearest rank, `p` from 0 to 100 and taken to the nearest millionth: of the latencies
    /// that share a bucket with the one at rank ceil(p/100 × n), the largest. It was observed, and is at most 0.1 %
    /// above the one at that rank; up to 2 µs, and at 0 and 100, it is that one. None without latencies, or for another
    /// `p`.
    pub fn percentile_ns(&self, p: f64) -> Option<u64> {
        if self.count == 0 || !(0.0..=100.0).contains(&p) {
            return None;
        }
        let rank = (u128::from(parts(p)) * u128::from(self.count)).div_ceil(u128::from(WHOLE));
        if rank <= 1 {
            return Some(self.min_ns);
        }
        let mut seen = 0_u128;
        self.filled().find_map(|(_, [count, largest])| {
            seen += u128::from(count);
            (seen >= rank).then_some(largest)
        })
    }

    /// Whether there are enough for this percentile: at least one is expected beyond it, as in
    /// `virtmark_stats::Percentile`.
    pub fn supports(&self, p: f64) -> bool {
        if self.count == 0 || !(0.0..=100.0).contains(&p) {
            return false;
        }
        let beyond = u128::from(parts(p).min(WHOLE - parts(p))) * u128::from(self.count);
        matches!(parts(p), 0 | WHOLE) || beyond >= u128::from(WHOLE)
    }

    /// The same counts as an HdrHistogram, for its own tools.
    pub fn to_histogram(&self) -> Histogram<u64> {
        let mut histogram = empty_histogram();
        for (index, [count, _]) in self.filled() {
            histogram.saturating_record_n(lowest_of(index), count);
        }
        histogram
    }

    fn add(&mut self, index: usize, [more, candidate]: [u64; 2]) {
        let group = self.groups[index / GROUP].get_or_insert_with(|| Box::new([[0; 2]; GROUP]));
        let [count, largest] = &mut group[index % GROUP];
        *count += more;
        *largest = candidate.max(*largest);
    }

    fn filled(&self) -> impl Iterator<Item = (usize, [u64; 2])> {
        let groups =
            self.groups.iter().enumerate().filter_map(|(at, group)| Some((at * GROUP, group.as_ref()?)));
        let buckets = groups.flat_map(|(first, group)| (first..).zip(group.iter().copied()));
        buckets.filter(|(_, [count, _])| *count > 0)
    }
}

fn parts(p: f64) -> u64 {
    (p * (WHOLE / 100) as f64).round() as u64
}

/// Values below 2048 have a bucket each; above, 1024 buckets for each power of two.
const fn index_of(ns: u64) -> usize {
    let ns = if ns < HIGHEST_NS { ns } else { HIGHEST_NS };
    let shift = (u64::BITS - ns.leading_zeros()).saturating_sub(PRECISION_BITS);
    ((shift as usize) << (PRECISION_BITS - 1)) + (ns >> shift) as usize
}

const fn lowest_of(index: usize) -> u64 {
    let shift = (index >> (PRECISION_BITS - 1)).saturating_sub(1);
    ((index - (shift << (PRECISION_BITS - 1))) as u64) << shift
}

fn empty_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, HIGHEST_NS, SIGNIFICANT_DIGITS).expect("these bounds are valid")
}

/// As JSON.
#[derive(Serialize, Deserialize)]
struct Form {
    count: u64,
    min_ns: Option<u64>,
    max_ns: Option<u64>,
    /// HdrHistogram's V2 encoding, deflated, in base64.
    hdr: String,
    /// For each bucket that is not empty, lowest first: how far its largest latency is above the bucket's lowest.
    largest_above_lowest_ns: Vec<u64>,
}

impl Serialize for Latencies {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.to_histogram(), &mut bytes)
            .map_err(|error| serde::ser::Error::custom(format!("cannot encode the latencies: {error}")))?;
        Form {
            count: self.count,
            min_ns: self.min_ns(),
            max_ns: self.max_ns(),
            hdr: BASE64.encode(bytes),
            largest_above_lowest_ns: self
                .filled()
                .map(|(index, [_, largest])| largest - lowest_of(index))
                .collect(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = Form::deserialize(deserializer)?;
        form.read().map_err(|why| serde::de::Error::custom(format!("cannot read the latencies: {why}")))
    }
}

impl Form {
    fn read(self) -> Result<Latencies, String> {
        let bytes = BASE64.decode(&self.hdr).map_err(|error| error.to_string())?;
        let histogram = inflated(&bytes)?;
        let bounds = (histogram.low(), histogram.high(), histogram.sigfig());
        if bounds != (1, HIGHEST_NS, SIGNIFICANT_DIGITS) {
            return Err("the histogram has other buckets than ours".into());
        }
        let mut latencies = Latencies::new();
        let mut above = self.largest_above_lowest_ns.iter();
        for value in histogram.iter_recorded() {
            let index = index_of(value.value_iterated_to());
            let lowest = lowest_of(index);
            let largest = above.next().and_then(|above| lowest.checked_add(*above));
            // The last bucket has no upper end.
            let largest = largest.filter(|largest| index_of(*largest) == index);
            let largest = largest.ok_or("a bucket has no largest latency within it")?;
            latencies.add(index, [value.count_at_value(), largest]);
            let count = latencies.count.checked_add(value.count_at_value());
            latencies.count = count.ok_or("it has more latencies than can be counted")?;
            latencies.max_ns = largest;
        }
        let min_ns = self.min_ns.unwrap_or(u64::MAX);
        let lowest_bucket = latencies.filled().next().map(|(index, [_, largest])| (index, largest));
        let min_fits = match lowest_bucket {
            Some((index, largest)) => index_of(min_ns) == index && min_ns <= largest,
            None => self.min_ns.is_none(),
        };
        latencies.min_ns = min_ns;
        if above.next().is_some()
            || !min_fits
            || (self.count, self.max_ns) != (latencies.count, latencies.max_ns())
        {
            return Err("its count, smallest and largest latency contradict the buckets".into());
        }
        Ok(latencies)
    }
}

/// Its decoder makes room for as many bytes as the encoding says that it has, up to 4 GiB: they are counted before.
fn inflated(bytes: &[u8]) -> Result<Histogram<u64>, String> {
    let (head, deflated) = bytes.split_at_checked(DEFLATED_HEAD_BYTES).ok_or("there is no histogram")?;
    let mut plain = Vec::new();
    ZlibDecoder::new(deflated)
        .take(MOST_PLAIN_BYTES as u64)
        .read_to_end(&mut plain)
        .map_err(|error| error.to_string())?;
    let behind_head = plain.len().checked_sub(PLAIN_HEAD_BYTES).ok_or("the histogram is cut off")?;
    // The decoder also takes what is deflated once more, of which nothing is counted yet.
    if !head.starts_with(&DEFLATED_COOKIE)
        || !plain.starts_with(&PLAIN_COOKIE)
        || u32_at(head, 4) != u32::try_from(deflated.len()).ok()
        || u32_at(&plain, 4) != u32::try_from(behind_head).ok()
    {
        return Err("the histogram is none, or not as long as it says".into());
    }
    Deserializer::new().deserialize(&mut plain.as_slice()).map_err(|error| error.to_string())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests;
