//! Measure virtual machines: boot, restore, overhead, load, density, migration.

fn main() {}
