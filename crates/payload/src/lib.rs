//! Programs packed to be run on many machines.
