//! An Internet in one process, for labs: every place is a network namespace with one TUN device, and this process owns
//! the other end of all of them.
//!
//! A packet is forwarded after half the round trip between its places, may get lost, and may wait for the line of its
//! receiver. The kernels' own TCP runs over it, so that recovery from loss is the real one. It needs `CAP_NET_ADMIN`
//! and `ip`, and nothing of the kernel beyond namespaces and TUN: no `netem`.

#![forbid(unsafe_code)]

pub mod internet; // forwards packets between the devices
pub mod namespace; // places as network namespaces
pub mod matrix; // round trips between places: modelled, or from a file
pub mod city; // places and where they are
