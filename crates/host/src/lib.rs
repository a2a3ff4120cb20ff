//! The host as virtmark sees it: facts, child processes that cannot outlive it, run directories.
