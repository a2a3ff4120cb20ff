//! What people look at: terminal tables, figures, self-contained HTML.
