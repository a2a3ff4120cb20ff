//! The small static program inside the guest: PID 1 in the tiny image, an ordinary service elsewhere.

fn main() {}
