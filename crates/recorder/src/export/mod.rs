//! What a store holds, for others to read: remote-write and OpenMetrics.
