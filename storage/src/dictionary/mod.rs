//! The entity dictionary: key to ordinal.
