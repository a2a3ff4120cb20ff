//! Where runs are kept: every sample, on disk before the next one starts.
