//! What a measurement is: samples, runs, environments, outcomes, and the formats they are written in.
