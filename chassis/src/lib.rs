//! What every Tidegate process does alike: config in layers, logs, metrics, an admin port, supervised tasks,
//! readiness and drain. It knows nothing of HTTP caching or video.
//!
//! A program's `main` parses its command line and calls [`run`]; everything else it needs of its process hangs on
//! the [`Process`] that it is handed. Modules stand top-down; a module may use only modules listed below it.
//!
//! **Invariant.** Nothing dies silently: a supervised task that ends before the drain ends the process.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod run; // start-up order: config, logs, admin port, program, drain, exit code
mod admin; // /livez /readyz /metrics /config /drain
mod ready_file; // tells whoever started the process which addresses it got
mod process; // what a program holds of its process: spawn, ready, announce, drain
pub mod config; // what is asked of a program's config, the process section, the command-line flags
mod layers; // file < environment < flags, and whose fault a bad key is
mod logging; // tracing set-up: text on a terminal, JSON otherwise
pub mod recent; // the newest lines of the log, kept for whoever asks
pub mod metrics; // declaring metrics, the metrics of the process itself, the text format
pub mod lines; // log lines that come often, written many at a time
pub mod handover; // sockets for the process that follows
mod readiness; // which parts are ready, which listeners have an address
mod drain; // one signal everyone can await
mod secret; // text that is never shown and is compared in constant time
mod clock; // the time of day, movable in tests
pub mod believe; // TLS clients that ask no authority who somebody is
mod crypto; // one provider for all of TLS
mod build_info; // version and commit

pub use clock::Clock;
pub use config::{ConfigArgs, ProcessConfig, Program, ProgramConfig};
pub use crypto::init_crypto;
pub use drain::Drain;
pub use layers::ConfigError;
pub use logging::LogFormat;
pub use process::{ConfigReading, Process, TaskFailure};
pub use readiness::ReadyPart;
pub use recent::ACCESS;
pub use run::run;
pub use secret::Secret;
