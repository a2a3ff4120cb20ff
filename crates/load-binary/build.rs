//! Builds the load generator's program.

use std::error::Error;

use virtmark_guest_build::GuestProgram;

fn main() -> Result<(), Box<dyn Error>> {
    let inputs = [
        "crates/load/Cargo.toml",
        "crates/load/src",
        "crates/plan/Cargo.toml",
        "crates/plan/src",
        "crates/stats/Cargo.toml",
        "crates/stats/src",
        "plans",
    ];
    GuestProgram { package: "virtmark-load", profile: "load", inputs: &inputs }.build()
}
