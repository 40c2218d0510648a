//! seccomp: a list of allowed system calls; anything else ends the process.
//!
//! Three filters, because the strictest answer wins. The first answers some calls with an error instead of death:
//! the C library asks on its own and copes (it opens `/proc` when it trims memory, and falls back from `clone3`,
//! whose flags a filter cannot see, to `clone`, which is allowed for threads only). The list comes last, since
//! nothing can be filtered after it.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter_all_threads,
};

use super::policy::SandboxError;

/// Confines this thread and those it starts; `gpu` also allows what a card's driver needs.
pub(super) fn confine(gpu: bool) -> Result<(), SandboxError> {
    let refused = if gpu { &[] } else { REFUSED };
    let programs = [
        answered_with(libc::ENOSYS, &[libc::SYS_clone3])?,
        answered_with(libc::EACCES, refused)?,
        allowed_only(gpu)?,
    ];
    for program in programs {
        apply_filter_all_threads(&program)?;
    }
    Ok(())
}

fn answered_with(errno: i32, calls: &[i64]) -> Result<BpfProgram, BackendError> {
    let errno = SeccompAction::Errno(errno.unsigned_abs());
    if calls.is_empty() {
        // A filter needs a rule: one for a call that the list ends anyway.
        return build([(libc::SYS_reboot, vec![])].into(), SeccompAction::Allow, errno);
    }
    build(calls.iter().map(|call| (*call, vec![])).collect(), SeccompAction::Allow, errno)
}

fn allowed_only(gpu: bool) -> Result<BpfProgram, BackendError> {
    let mut rules: Rules = ALLOWED.iter().map(|call| (*call, vec![])).collect();
    // Answered by the filters before this one.
    rules.insert(libc::SYS_clone3, vec![]);
    rules.extend(REFUSED.iter().map(|call| (*call, vec![])));
    let thread = libc::CLONE_THREAD.unsigned_abs().into();
    let executable = libc::PROT_EXEC.unsigned_abs().into();
    let own_thread = libc::PRIO_PROCESS.into();
    let thread_name = libc::PR_SET_NAME.unsigned_abs().into();
    let descriptor_flags = libc::F_GETFD.unsigned_abs().into(); // std asks before it closes
    let empty_path = libc::AT_EMPTY_PATH.unsigned_abs().into();
    let (number, pointer) = (SeccompCmpArgLen::Dword, SeccompCmpArgLen::Qword);
    for (call, argument, length, comparison, value) in [
        (libc::SYS_clone, 0, number.clone(), SeccompCmpOp::MaskedEq(thread), thread),
        (libc::SYS_mprotect, 2, number.clone(), SeccompCmpOp::MaskedEq(executable), 0),
        (libc::SYS_mmap, 2, number.clone(), SeccompCmpOp::MaskedEq(executable), 0),
        (libc::SYS_prctl, 0, number.clone(), SeccompCmpOp::Eq, thread_name),
        (libc::SYS_fcntl, 1, number.clone(), SeccompCmpOp::Eq, descriptor_flags),
        (libc::SYS_sched_setaffinity, 0, number.clone(), SeccompCmpOp::Eq, 0), // x265 places its threads
        (libc::SYS_setpriority, 0, number.clone(), SeccompCmpOp::Eq, own_thread),
        (libc::SYS_newfstatat, 3, number.clone(), SeccompCmpOp::MaskedEq(empty_path), empty_path),
        (libc::SYS_prlimit64, 2, pointer, SeccompCmpOp::Eq, 0),
    ] {
        let condition = SeccompCondition::new(argument, length, comparison, value)?;
        rules.insert(call, vec![SeccompRule::new(vec![condition])?]);
    }
    if gpu {
        rules.extend(ALLOWED_WITH_GPU.iter().map(|call| (*call, vec![])));
    }
    build(rules, SeccompAction::KillProcess, SeccompAction::Allow)
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn build(
    rules: Rules,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let machine: TargetArch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, otherwise, matched, machine)?.try_into()
}

/// Reading and writing what is open, memory, threads, time.
const ALLOWED: &[i64] = &[
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_close,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getcpu,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getrandom,
    libc::SYS_set_mempolicy,
    libc::SYS_get_mempolicy,
    libc::SYS_sysinfo,
    libc::SYS_getrusage,
    libc::SYS_getpriority,
    libc::SYS_membarrier,
    libc::SYS_tgkill,
];

/// Looking at paths and asking about terminals: denied with an error, because libraries ask and cope.
const REFUSED: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_statx,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_ioctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
];

/// What opening an NVIDIA card takes, from its libraries' behaviour; files stay under Landlock.
const ALLOWED_WITH_GPU: &[i64] = &[
    libc::SYS_mmap,
    libc::SYS_mlock,
    libc::SYS_munlock,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_pipe2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_getdents64,
    libc::SYS_geteuid,
    libc::SYS_getuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_uname,
    libc::SYS_memfd_create,
    libc::SYS_ftruncate,
];
