//! What it costs to summarise samples and to compare two sets.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use virtmark_stats::{DEFAULT_RESAMPLES, DEFAULT_SEED, Summary, bca, ratio_of_medians};

/// Latencies in nanoseconds, all different, in the order of measurement.
fn samples(seed: u64, n: usize) -> Vec<f64> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    (0..n).map(|_| 1e6 + (rng.next_u64() >> 40) as f64).collect()
}

fn summary(c: &mut Criterion) {
    let mut group = c.benchmark_group("summary");
    for n in [50, 1_000, 100_000] {
        let samples = samples(1, n);
        group.throughput(Throughput::Elements(n as u64));
        group.bench_with_input(BenchmarkId::from_parameter(n), &samples, |b, samples| {
            b.iter(|| Summary::from_samples(black_box(samples)));
        });
    }
    group.finish();
}

fn ratio(c: &mut Criterion) {
    let mut group = c.benchmark_group("ratio_of_medians");
    for n in [50, 1_000, 100_000] {
        let (a, b) = (samples(1, n), samples(2, n));
        group.bench_with_input(BenchmarkId::from_parameter(n), &(a, b), |bench, (a, b)| {
            bench.iter(|| ratio_of_medians(black_box(a), black_box(b), 0.95));
        });
    }
    group.finish();
}

fn drawn(c: &mut Criterion) {
    let mut group = c.benchmark_group("bca of a mean");
    group.sample_size(10);
    for n in [50, 1_000] {
        let samples = samples(1, n);
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        group.bench_with_input(BenchmarkId::from_parameter(n), &samples, |b, samples| {
            b.iter(|| bca(black_box(samples), mean, 0.95, DEFAULT_RESAMPLES, DEFAULT_SEED));
        });
    }
    group.finish();
}

criterion_group!(benches, summary, ratio, drawn);
criterion_main!(benches);
