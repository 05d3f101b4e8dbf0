//! The attempts, one for each feature. They allocate nothing: most of them run in a forked child.

use super::child::{attempt_in_child, wait};
use super::{Feature, Features};
use crate::process::maps;
use crate::sys::vdso::VdsoMappings;
use std::mem::size_of;

/// A page: x86-64 has no other base size.
const PAGE_BYTES: usize = 4096;

/// Tries everything.
pub(super) fn features() -> Features {
    let mut features = Features::default();
    let mut note = |feature, works: bool| {
        if works {
            features = features.with(feature);
        }
    };
    let (seize, rseq) = seize_and_rseq_configuration();
    note(Feature::PtraceSeize, seize);
    note(Feature::RseqConfiguration, rseq);
    note(Feature::Compare, kcmp());
    note(
        Feature::Namespaces,
        unshare(
            libc::CLONE_NEWPID
                | libc::CLONE_NEWNS
                | libc::CLONE_NEWNET
                | libc::CLONE_NEWIPC
                | libc::CLONE_NEWUTS,
        ),
    );
    note(Feature::TimeNamespace, unshare(libc::CLONE_NEWTIME));
    note(Feature::UserNamespace, unshare(libc::CLONE_NEWUSER));
    note(Feature::ChosenPid, chosen_pid());
    note(Feature::SeccompTrace, seccomp_trace());
    note(Feature::MemoryMap, memory_map());
    note(Feature::VdsoMove, vdso_move());
    let (userfaultfd, write_protect) = userfaultfd();
    note(Feature::Userfaultfd, userfaultfd);
    note(Feature::AsynchronousWriteProtect, write_protect);
    note(Feature::PagemapScan, pagemap_scan());
    note(Feature::SoftDirty, soft_dirty());
    features
}

/// In a child: makes a grandchild, seizes it and asks for its rseq registration.
fn seize_and_rseq_configuration() -> (bool, bool) {
    const SEIZED: u8 = 1;
    const RSEQ: u8 = 2;
    const PTRACE_GET_RSEQ_CONFIGURATION: libc::c_uint = 0x420f;
    let attempt = || {
        let mut result = 0;
        // SAFETY: system calls only; the grandchild does nothing but wait until it is killed, and
        // `configuration` has the 24 bytes of struct ptrace_rseq_configuration.
        unsafe {
            let parent = libc::getpid();
            let tracee = libc::fork();
            if tracee == 0 {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                while libc::getppid() == parent {
                    libc::pause();
                }
                libc::_exit(0);
            }
            if tracee < 0 {
                return 0;
            }
            let mut configuration = [0_u64; 3];
            let nothing = std::ptr::null_mut::<libc::c_void>();
            if libc::ptrace(libc::PTRACE_SEIZE, tracee, nothing, nothing) == 0
                && libc::ptrace(libc::PTRACE_INTERRUPT, tracee, nothing, nothing) == 0
                && wait(tracee, libc::__WALL).is_some_and(|status| libc::WIFSTOPPED(status))
            {
                result |= SEIZED;
                let size = size_of_val(&configuration);
                let place = configuration.as_mut_ptr();
                if libc::ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tracee, size, place) > 0 {
                    result |= RSEQ;
                }
            }
            libc::kill(tracee, libc::SIGKILL);
            wait(tracee, libc::__WALL);
        }
        result
    };
    // SAFETY: the attempt makes system calls only.
    let result = unsafe { attempt_in_child(attempt) }.unwrap_or(0);
    (result & SEIZED != 0, result & RSEQ != 0)
}

fn kcmp() -> bool {
    let own = std::process::id();
    crate::sys::compare::same_memory(own, own).is_ok_and(|same| same)
}

/// In a child: leaves these namespaces for new ones.
fn unshare(namespaces: libc::c_int) -> bool {
    // SAFETY: the attempt makes one system call, which changes the child only.
    unsafe { attempt_in_child(|| u8::from(libc::unshare(namespaces) == 0)) == Some(1) }
}

/// In a child: makes a pid namespace, in it an init, and from there a process with a chosen pid.
fn chosen_pid() -> bool {
    const CHOSEN: libc::pid_t = 300;
    let clone = || {
        let mut chosen = CHOSEN;
        // struct clone_args of linux/sched.h, all zero but what is wanted.
        let mut arguments: libc::clone_args = bytes_of_zero();
        arguments.exit_signal = libc::SIGCHLD as u64;
        arguments.set_tid = &raw mut chosen as u64;
        arguments.set_tid_size = 1;
        // SAFETY: without CLONE_VM the new process has a copy of everything, as after fork; it ends at
        // once. The arguments live until the call returns.
        unsafe {
            let made = libc::syscall(
                libc::SYS_clone3,
                &raw mut arguments,
                size_of::<libc::clone_args>(),
            );
            if made == 0 {
                libc::_exit(0);
            }
            u8::from(made == i64::from(CHOSEN) && wait(CHOSEN, 0).is_some())
        }
    };
    // SAFETY: both attempts make system calls only; the inner one runs in the namespace's init.
    unsafe {
        attempt_in_child(|| {
            if libc::unshare(libc::CLONE_NEWPID) != 0 {
                return 0;
            }
            attempt_in_child(clone).unwrap_or(0)
        }) == Some(1)
    }
}

/// The libc structure with all bytes zero.
fn bytes_of_zero() -> libc::clone_args {
    // SAFETY: clone_args is made of integers only, for which zero is a value.
    unsafe { std::mem::zeroed() }
}

fn seccomp_trace() -> bool {
    let action = libc::SECCOMP_RET_TRACE;
    // SAFETY: the call reads the action and changes nothing.
    unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            0_u64,
            &raw const action,
        ) == 0
    }
}

/// PR_SET_MM_MAP_SIZE is answered if and only if PR_SET_MM_MAP is there.
fn memory_map() -> bool {
    let mut size: libc::c_uint = 0;
    // SAFETY: the call writes the size of a structure to `size` and changes nothing else.
    let answered = unsafe {
        libc::prctl(
            libc::PR_SET_MM,
            libc::PR_SET_MM_MAP_SIZE as libc::c_ulong,
            &raw mut size,
            0_u64,
            0_u64,
        )
    };
    answered == 0 && size > 0
}

/// In a child: moves vDSO and data to another place, each part by itself, as a guest's build does.
fn vdso_move() -> bool {
    let Ok(mappings) = maps::read(std::process::id()) else {
        return false;
    };
    let Some(found) = VdsoMappings::find(&mappings) else {
        return false;
    };
    let parts = || found.data.iter().chain([&found.code]);
    let (Some(first), Some(last)) = (parts().next(), parts().next_back()) else {
        return false;
    };
    let Ok(span) = usize::try_from(last.end.saturating_sub(first.start)) else {
        return false;
    };
    let attempt = || {
        // SAFETY: the new place is reserved just before; from here on the child makes direct system
        // calls only, none of which needs the vDSO.
        unsafe {
            let place = libc::mmap(
                std::ptr::null_mut(),
                span,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            if place == libc::MAP_FAILED {
                return 0;
            }
            for part in parts() {
                let size = part.size_bytes();
                let target = place as u64 + (part.start - first.start);
                let moved = libc::syscall(
                    libc::SYS_mremap,
                    part.start,
                    size,
                    size,
                    libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
                    target,
                );
                if moved.cast_unsigned() != target {
                    return 0;
                }
            }
        }
        1
    };
    // SAFETY: the attempt makes system calls only.
    unsafe { attempt_in_child(attempt) == Some(1) }
}

/// Whether there is a userfaultfd, and whether it does asynchronous write protection.
fn userfaultfd() -> (bool, bool) {
    /// UFFDIO_API of linux/userfaultfd.h: _IOWR(0xAA, 0x3F, struct uffdio_api).
    const UFFDIO_API: libc::c_ulong = 0xc018_aa3f;
    /// UFFD_API.
    const API: u64 = 0xaa;
    /// UFFD_FEATURE_WP_ASYNC.
    const WRITE_PROTECT_ASYNC: u64 = 1 << 15;
    // SAFETY: the descriptor is ours alone and closed below; `api` has the 24 bytes of struct
    // uffdio_api (api, features, ioctls), which the kernel fills in.
    unsafe {
        let descriptor = libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC);
        let Ok(descriptor) = libc::c_int::try_from(descriptor) else {
            return (false, false);
        };
        if descriptor < 0 {
            return (false, false);
        }
        let mut api = [API, 0, 0];
        let answered = libc::ioctl(descriptor, UFFDIO_API, api.as_mut_ptr()) == 0;
        libc::close(descriptor);
        (answered, answered && api[1] & WRITE_PROTECT_ASYNC != 0)
    }
}

/// Scans the page of a local variable.
fn pagemap_scan() -> bool {
    /// PAGEMAP_SCAN of linux/fs.h: _IOWR('f', 16, struct pm_scan_arg).
    const PAGEMAP_SCAN: libc::c_ulong = 0xc060_6610;
    /// PAGE_IS_PRESENT.
    const PRESENT: u64 = 1 << 3;
    let variable = 0_u8;
    let page = (&raw const variable as u64) & !(PAGE_BYTES as u64 - 1);
    let mut region = [0_u64; 3];
    // struct pm_scan_arg: size, flags, start, end, walk_end, vec, vec_len, max_pages, category_inverted,
    // category_mask, category_anyof_mask, return_mask.
    let mut arguments = [
        96,
        0,
        page,
        page + PAGE_BYTES as u64,
        0,
        region.as_mut_ptr() as u64,
        1,
        0,
        0,
        0,
        PRESENT,
        PRESENT,
    ];
    // SAFETY: the path ends in a zero; the kernel reads and writes the arguments and at most one
    // region; the descriptor is ours alone.
    unsafe {
        let descriptor = libc::open(
            c"/proc/self/pagemap".as_ptr(),
            libc::O_RDONLY | libc::O_CLOEXEC,
        );
        if descriptor < 0 {
            return false;
        }
        let regions = libc::ioctl(descriptor, PAGEMAP_SCAN, arguments.as_mut_ptr());
        libc::close(descriptor);
        regions == 1
    }
}

/// In a child: clears the bits and writes to a page. The bit must go and come: clear_refs alone reports
/// success on kernels without it.
fn soft_dirty() -> bool {
    let attempt = || {
        // SAFETY: system calls, and volatile accesses to a page that is ours and writable.
        unsafe {
            let page = libc::mmap(
                std::ptr::null_mut(),
                PAGE_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            if page == libc::MAP_FAILED {
                return 0;
            }
            page.cast::<u8>().write_volatile(1);
            let clear = libc::open(c"/proc/self/clear_refs".as_ptr(), libc::O_WRONLY);
            let cleared = libc::write(clear, c"4".as_ptr().cast(), 1) == 1;
            let after_clearing = is_soft_dirty(page as usize);
            page.cast::<u8>().write_volatile(2);
            let after_writing = is_soft_dirty(page as usize);
            u8::from(cleared && after_clearing == Some(false) && after_writing == Some(true))
        }
    };
    // SAFETY: the attempt makes system calls and touches its own page only.
    unsafe { attempt_in_child(attempt) == Some(1) }
}

/// Bit 55 of the page's entry in pagemap (Documentation/admin-guide/mm/pagemap.rst).
fn is_soft_dirty(address: usize) -> Option<bool> {
    const SOFT_DIRTY: u64 = 1 << 55;
    let mut entry = 0_u64;
    // SAFETY: the path ends in a zero, and the kernel writes at most eight bytes to `entry`.
    let read = unsafe {
        let descriptor = libc::open(
            c"/proc/self/pagemap".as_ptr(),
            libc::O_RDONLY | libc::O_CLOEXEC,
        );
        let offset = libc::off_t::try_from(address / PAGE_BYTES * size_of::<u64>()).ok()?;
        let read = libc::pread(
            descriptor,
            (&raw mut entry).cast(),
            size_of::<u64>(),
            offset,
        );
        libc::close(descriptor);
        read
    };
    (read == 8).then_some(entry & SOFT_DIRTY != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trying_leaves_this_process_as_it_was() {
        let vdso = || VdsoMappings::find(&maps::read(std::process::id()).unwrap());
        let namespaces = || {
            [
                "pid_for_children",
                "time_for_children",
                "mnt",
                "net",
                "user",
            ]
            .map(|kind| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap())
        };
        let before = (vdso(), namespaces());
        let first = features();
        assert_eq!((vdso(), namespaces()), before);
        assert_eq!(features(), first);
    }

    #[test]
    fn what_every_supported_kernel_has_is_found() {
        let features = features();
        for feature in [
            Feature::PtraceSeize,
            Feature::RseqConfiguration,
            Feature::SeccompTrace,
            Feature::MemoryMap,
            Feature::VdsoMove,
        ] {
            assert!(features.has(feature), "{feature:?} of {features:?}");
        }
    }
}
