//! The conformance suite that every driver passes.
