//! The program; filled in as it is built.
