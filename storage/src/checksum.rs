//! Checksums of everything on disk.
