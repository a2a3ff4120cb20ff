//! Payloads on many machines at once.
