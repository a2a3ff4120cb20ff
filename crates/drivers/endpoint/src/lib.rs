//! Any sandbox service's HTTP API as a platform.
