//! The system call numbers that the engine itself uses.

pub use libc::{
    SYS_access, SYS_arch_prctl, SYS_brk, SYS_capset, SYS_chdir, SYS_chroot, SYS_clock_nanosleep,
    SYS_clone, SYS_clone3, SYS_close, SYS_close_range, SYS_dup2, SYS_dup3, SYS_exit,
    SYS_exit_group, SYS_faccessat, SYS_faccessat2, SYS_fchdir, SYS_fork, SYS_fstat, SYS_ftruncate,
    SYS_futex, SYS_gettid, SYS_kill, SYS_landlock_restrict_self, SYS_lseek, SYS_lstat, SYS_madvise,
    SYS_membarrier, SYS_memfd_create, SYS_mlock, SYS_mlock2, SYS_mlockall, SYS_mmap, SYS_mprotect,
    SYS_mremap, SYS_munlock, SYS_munmap, SYS_nanosleep, SYS_newfstatat, SYS_open, SYS_pause,
    SYS_poll, SYS_prctl, SYS_pread64, SYS_prlimit64, SYS_ptrace, SYS_pwrite64, SYS_read,
    SYS_readlink, SYS_readlinkat, SYS_restart_syscall, SYS_rseq, SYS_rt_sigaction,
    SYS_rt_sigprocmask, SYS_rt_sigqueueinfo, SYS_rt_sigreturn, SYS_rt_sigsuspend,
    SYS_rt_sigtimedwait, SYS_rt_tgsigqueueinfo, SYS_sched_setaffinity, SYS_seccomp, SYS_sendmmsg,
    SYS_sendmsg, SYS_set_robust_list, SYS_set_tid_address, SYS_setfsgid, SYS_setfsuid, SYS_setgid,
    SYS_setgroups, SYS_setregid, SYS_setresgid, SYS_setresuid, SYS_setreuid, SYS_setuid,
    SYS_sigaltstack, SYS_stat, SYS_tgkill, SYS_time, SYS_tkill, SYS_umount2, SYS_vfork, SYS_write,
};
