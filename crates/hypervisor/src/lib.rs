//! What a platform implements: hypervisor, machine, guest link, capabilities, and the conformance suite.
