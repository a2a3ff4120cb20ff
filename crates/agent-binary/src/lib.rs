//! The guest agent, built static, as bytes to put into images.
