//! DNS: queries in, answers out.

pub mod sign; // DNSSEC: keys and signatures
