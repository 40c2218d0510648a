//! The store and what hangs on it: every engine, several replicas, backups.
//!
//! Real programs where it is about a program that dies. What needs etcd is skipped, loudly, where it is not installed.

mod harness;

mod backup;
mod cluster;
mod conformance;
mod replicas;
mod rotation;
