//! Builds the guest agent.

use std::error::Error;

use virtmark_guest_build::GuestProgram;

fn main() -> Result<(), Box<dyn Error>> {
    let inputs = ["crates/agent", "crates/protocol/Cargo.toml", "crates/protocol/src"];
    GuestProgram { package: "virtmark-agent", profile: "agent", inputs: &inputs }.build()
}
