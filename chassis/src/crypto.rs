//! One cryptography provider for everything that speaks TLS or QUIC in this process.
//!
//! rustls refuses to choose when two providers are compiled in, and dependencies bring their own; so the choice
//! is made here, once, before the first handshake.

/// Makes aws-lc-rs the process's rustls provider. May be called again; [`crate::run`] does it for programs, tests
/// call it themselves.
pub fn init_crypto() {
    // An error says only that a provider is already there, which is what is wanted.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
