//! The host's end of the link to the agent: one byte stream, many requests at once.
