//! Samples in, figures out: percentiles, intervals, spread, outliers.
