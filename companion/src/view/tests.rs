//! Laws of the view.
