//! Landlock: no path, no TCP port, no signal to others.
//!
//! An older kernel enforces less of it (2023's has no network rules); seccomp covers that part. A kernel that
//! enforces nothing is refused.

use landlock::{
    ABI, Access, AccessFs, AccessNet, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, Scope, path_beneath_rules,
};

use super::policy::SandboxError;

/// Denies everything that Landlock knows of; `gpu` excepts the nodes and descriptions of NVIDIA cards.
pub(super) fn deny(gpu: bool) -> Result<(), SandboxError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .no_new_privs(true);
    if gpu {
        let device = AccessFs::from_file(NEWEST);
        rules = rules
            .add_rules(path_beneath_rules(GPU_NODES, device))?
            .add_rules(path_beneath_rules(GPU_DESCRIPTIONS, AccessFs::from_read(NEWEST)))?;
    }
    match rules.restrict_self()? {
        RestrictionStatus { ruleset: RulesetStatus::NotEnforced, .. } => {
            Err(SandboxError::NotEnforced)
        }
        _ => Ok(()),
    }
}

/// The newest rules this was written for; older kernels enforce what they know of it.
const NEWEST: ABI = ABI::V6;

const GPU_NODES: [&str; 6] = [
    "/dev/nvidiactl",
    "/dev/nvidia0",
    "/dev/nvidia1",
    "/dev/nvidia-uvm",
    "/dev/nvidia-uvm-tools",
    "/dev/nvidia-caps",
];

/// What the driver's libraries read when a card is opened; libraries themselves come from `/usr/lib`.
const GPU_DESCRIPTIONS: [&str; 5] =
    ["/proc/driver/nvidia", "/proc/devices", "/sys/bus/pci", "/sys/devices", "/usr/lib"];
