//! What is measured: each scenario a module, all of one shape.
