//! Common calls, each going the whole way from a guest's memory to a deputy's and back.

use super::world::{GUEST, SCRATCH, Space, forward_of, forwarded, planned};
use crate::limits::{FORWARD_BYTES_MAX, FORWARD_PORTION_BYTES};
use crate::syscall::{Class, PlanError, Shorten, SignalMask, lookup, resolve};

const EINTR: i64 = -4;
const EAGAIN: i64 = -11;
const ERESTARTNOINTR: i64 = -513;
const ERESTART_RESTARTBLOCK: i64 = -516;

#[test]
fn read_brings_back_as_many_bytes_as_it_has_read() {
    let mut guest = Space::guest(4096);
    guest.bytes.fill(7);
    let result = forwarded(
        0,
        &[3, GUEST + 100, 50, 0, 0, 0],
        &mut guest,
        |args, home| {
            assert_eq!((args[0], args[2]), (3, 50));
            home.slice(args[1], 50).fill(9);
            20
        },
    );
    assert_eq!(result, 20);
    assert!(guest.slice(GUEST, 100).iter().all(|&byte| byte == 7));
    assert!(guest.slice(GUEST + 100, 20).iter().all(|&byte| byte == 9));
    assert!(guest.slice(GUEST + 120, 100).iter().all(|&byte| byte == 7));
}

#[test]
fn a_failed_read_leaves_the_guest_memory_alone() {
    let mut guest = Space::guest(64);
    forwarded(0, &[3, GUEST, 50, 0, 0, 0], &mut guest, |args, home| {
        home.slice(args[1], 50).fill(9);
        EAGAIN
    });
    assert!(guest.bytes.iter().all(|&byte| byte == 0));
}

#[test]
fn write_carries_its_bytes_home() {
    let mut guest = Space::guest(64);
    guest.put(GUEST + 8, b"hello");
    let result = forwarded(1, &[1, GUEST + 8, 5, 0, 0, 0], &mut guest, |args, home| {
        assert_eq!(home.slice(args[1], 5), b"hello");
        5
    });
    assert_eq!(result, 5);
}

#[test]
fn a_write_from_memory_that_does_not_exist_faults_and_null_stays_null() {
    let mut guest = Space::guest(64);
    let fault = planned(1, &[1, 0xdead_0000, 5, 0, 0, 0], &mut guest).unwrap_err();
    assert_eq!(fault, PlanError::Fault);
    let fault = planned(1, &[1, GUEST + 60, 5, 0, 0, 0], &mut guest).unwrap_err();
    assert_eq!(fault, PlanError::Fault);
    forwarded(1, &[1, 0, 5, 0, 0, 0], &mut guest, |args, _| {
        assert_eq!(args[1], 0);
        -14
    });
}

#[test]
fn a_large_read_is_made_in_portions_and_a_large_message_comes_home() {
    let mut guest = Space::guest(64);
    let plan = planned(0, &[3, GUEST, 64 << 20, 0, 0, 0], &mut guest).unwrap();
    assert!(plan.shortened());
    assert_eq!(plan.request().args[2], FORWARD_PORTION_BYTES);
    let plan = planned(0, &[3, GUEST, FORWARD_PORTION_BYTES, 0, 0, 0], &mut guest).unwrap();
    assert!(!plan.shortened());
    // A length that the kernel refuses is not made acceptable.
    let refused = planned(0, &[3, GUEST, u64::MAX, 0, 0, 0], &mut guest).unwrap_err();
    assert!(matches!(refused, PlanError::ComesHome(_)));
    let large = planned(45, &[3, GUEST, FORWARD_BYTES_MAX + 1, 0, 0, 0], &mut guest).unwrap_err();
    assert!(matches!(large, PlanError::ComesHome(_)));
}

#[test]
fn readv_fills_its_buffers_one_after_the_other() {
    let mut guest = Space::guest(4096);
    guest.put_numbers(
        GUEST,
        &[GUEST + 1000, 10, 0, 0, GUEST + 2000, 10, GUEST + 3000, 10],
    );
    let result = forwarded(19, &[3, GUEST, 4, 0, 0, 0], &mut guest, |args, home| {
        let buffers = [args[1], args[1] + 32, args[1] + 48].map(|entry| home.u64(entry));
        for (buffer, byte) in buffers.into_iter().zip(1..) {
            assert!(buffer >= SCRATCH);
            home.slice(buffer, 10).fill(byte);
        }
        14
    });
    assert_eq!(result, 14);
    assert_eq!(
        guest.slice(GUEST + 1000, 11),
        [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]
    );
    assert_eq!(guest.slice(GUEST + 2000, 5), [2, 2, 2, 2, 0]);
    assert_eq!(guest.slice(GUEST + 3000, 1), [0]);
    // The vector itself still leads into the guest's own memory.
    assert_eq!(guest.u64(GUEST), GUEST + 1000);
}

#[test]
fn writev_gathers_its_buffers_and_cuts_what_exceeds_a_portion() {
    let mut guest = Space::guest(3 << 20);
    let portion = FORWARD_PORTION_BYTES;
    guest.put_numbers(
        GUEST,
        &[GUEST + 64, 6, GUEST + 4096, 2 << 20, GUEST + 64, 6],
    );
    guest.put(GUEST + 64, b"limosa");
    let plan = planned(20, &[1, GUEST, 3, 0, 0, 0], &mut guest).unwrap();
    assert!(plan.shortened());
    forwarded(20, &[1, GUEST, 3, 0, 0, 0], &mut guest, |args, home| {
        let first = home.u64(args[1]);
        assert_eq!(home.slice(first, 6), b"limosa");
        let lengths = [8, 24, 40].map(|offset| home.u64(args[1] + offset));
        assert_eq!(lengths, [6, portion - 6, 0]);
        portion as i64
    });
}

#[test]
fn a_vector_longer_than_the_kernel_allows_is_left_to_the_kernel_to_refuse() {
    let mut guest = Space::guest(64);
    let plan = planned(20, &[1, GUEST, 1025, 0, 0, 0], &mut guest).unwrap();
    assert_eq!((plan.payload().len(), plan.request().args[2]), (0, 1025));
}

#[test]
fn open_carries_its_path_and_no_byte_more() {
    let mut guest = Space::guest(8192);
    guest.bytes.fill(b'x');
    guest.put(GUEST + 4000, b"/etc/hostname\0");
    let args = [u64::MAX - 99, GUEST + 4000, 0, 0, 0, 0];
    assert_eq!(
        planned(257, &args, &mut guest).unwrap().payload(),
        b"/etc/hostname\0"
    );
    forwarded(257, &args, &mut guest, |args, home| {
        assert_eq!(args[0], u64::MAX - 99);
        assert_eq!(home.slice(args[1], 14), b"/etc/hostname\0");
        3
    });
    // A path without an end within PATH_MAX goes home whole, for the kernel to say ENAMETOOLONG.
    let endless = planned(257, &[0, GUEST + 4014, 0, 0, 0, 0], &mut guest).unwrap();
    assert_eq!(endless.payload().len(), 4096);
    // One that runs out of mapped memory faults.
    let fault = planned(257, &[0, GUEST + 8000, 0, 0, 0, 0], &mut guest).unwrap_err();
    assert_eq!(fault, PlanError::Fault);
}

#[test]
fn stat_brings_its_structure_back_on_success_only() {
    let mut guest = Space::guest(4096);
    guest.put(GUEST, b"/\0");
    for (result, byte) in [(-2, 0), (0, 5)] {
        forwarded(
            4,
            &[GUEST, GUEST + 512, 0, 0, 0, 0],
            &mut guest,
            |args, home| {
                home.slice(args[1], 144).fill(5);
                result
            },
        );
        assert!(
            guest
                .slice(GUEST + 512, 144)
                .iter()
                .all(|&found| found == byte)
        );
    }
    assert_eq!(guest.slice(GUEST + 656, 1), [0]);
}

#[test]
fn poll_changes_only_what_happened() {
    let mut guest = Space::guest(64);
    guest.put(GUEST, &[3, 0, 0, 0, 1, 0, 9, 9, 4, 0, 0, 0, 4, 0, 9, 9]);
    forwarded(7, &[GUEST, 2, 0, 0, 0, 0], &mut guest, |args, home| {
        home.put(args[0], &[0xff; 6]);
        home.put(args[0] + 6, &[1, 0]);
        home.put(args[0] + 14, &[4, 0]);
        2
    });
    assert_eq!(
        guest.slice(GUEST, 16),
        [3, 0, 0, 0, 1, 0, 1, 0, 4, 0, 0, 0, 4, 0, 4, 0],
        "descriptors and requested events stay the guest's"
    );
}

#[test]
fn ppoll_without_descriptors_sleeps_with_its_mask() {
    let mut guest = Space::guest(64);
    guest.put_numbers(GUEST, &[1, 500, 0xff]);
    let args = [0, 0, GUEST, GUEST + 16, 8, 0];
    assert_eq!(
        forward_of(271, &args).facts.signal_mask,
        Some(SignalMask::Argument(3))
    );
    forwarded(271, &args, &mut guest, |args, home| {
        assert_eq!((args[0], home.u64(args[3])), (0, 0xff));
        home.put(args[2], &[0; 16]);
        0
    });
    assert_eq!((guest.u64(GUEST), guest.u64(GUEST + 8)), (0, 0));
}

#[test]
fn select_moves_whole_words_of_descriptors_and_the_time_left() {
    let mut guest = Space::guest(256);
    guest.put_numbers(GUEST, &[0b1000, 1, 77, 10, 0]);
    let args = [65, GUEST, 0, 0, GUEST + 24, 0];
    forwarded(23, &args, &mut guest, |args, home| {
        assert_eq!((home.u64(args[1]), home.u64(args[1] + 8)), (0b1000, 1));
        assert_eq!((args[2], args[3]), (0, 0));
        home.put(args[1], &[0; 16]);
        home.put(args[4], &[3; 8]);
        EINTR
    });
    assert_eq!(guest.u64(GUEST), 0b1000, "sets are left alone on failure");
    assert_eq!(guest.u64(GUEST + 16), 77);
    assert_eq!(
        guest.u64(GUEST + 24),
        0x0303_0303_0303_0303,
        "the time left is told even then"
    );
}

#[test]
fn pselect6_takes_the_mask_out_of_its_pack() {
    let mut guest = Space::guest(256);
    guest.put_numbers(GUEST, &[GUEST + 64, 8]);
    guest.put_numbers(GUEST + 64, &[0xabcd]);
    forwarded(270, &[0, 0, 0, 0, 0, GUEST], &mut guest, |args, home| {
        let mask = home.u64(args[5]);
        assert_eq!((home.u64(mask), home.u64(args[5] + 8)), (0xabcd, 8));
        0
    });
    assert_eq!(guest.u64(GUEST), GUEST + 64);
}

/// Puts a `struct msghdr` with two buffers of 8 bytes at the guest's base; its name is at +256, its
/// control data at +512, its buffers at +768 and +800.
fn put_message(guest: &mut Space, at: u64) {
    guest.put_numbers(at, &[at + 256, 16, at + 64, 2, at + 512, 64, 0]);
    guest.put_numbers(at + 64, &[at + 768, 8, at + 800, 8]);
}

#[test]
fn recvmsg_brings_name_control_data_flags_and_bytes() {
    let mut guest = Space::guest(4096);
    put_message(&mut guest, GUEST);
    let args = [3, GUEST, 0, 0, 0, 0];
    assert!(forward_of(47, &args).facts.receives_descriptors);
    forwarded(47, &args, &mut guest, |args, home| {
        let message = args[1];
        let [name, vector, control] = [0, 16, 32].map(|offset| home.u64(message + offset));
        let buffers = [vector, vector + 16].map(|entry| home.u64(entry));
        home.slice(name, 12).fill(1);
        home.put(message + 8, &12_u32.to_le_bytes());
        home.slice(buffers[0], 8).fill(2);
        home.slice(buffers[1], 2).fill(3);
        home.slice(control, 20).fill(4);
        home.put(message + 40, &20_u64.to_le_bytes());
        home.put(message + 48, &0x20_u32.to_le_bytes());
        10
    });
    assert_eq!(
        guest.slice(GUEST + 256, 13),
        [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]
    );
    assert_eq!(guest.u32(GUEST + 8), 12);
    assert_eq!(guest.slice(GUEST + 768, 9), [2, 2, 2, 2, 2, 2, 2, 2, 0]);
    assert_eq!(guest.slice(GUEST + 800, 3), [3, 3, 0]);
    assert_eq!(guest.slice(GUEST + 531, 2), [4, 0]);
    assert_eq!((guest.u64(GUEST + 40), guest.u32(GUEST + 48)), (20, 0x20));
    let pointers = [0, 16, 32].map(|offset| guest.u64(GUEST + offset));
    assert_eq!(pointers, [GUEST + 256, GUEST + 64, GUEST + 512]);
}

#[test]
fn sendmsg_carries_every_part() {
    let mut guest = Space::guest(4096);
    put_message(&mut guest, GUEST);
    guest.slice(GUEST + 256, 16).fill(1);
    guest.slice(GUEST + 512, 64).fill(2);
    guest.slice(GUEST + 768, 8).fill(3);
    guest.slice(GUEST + 800, 8).fill(4);
    let before = guest.bytes.clone();
    forwarded(46, &[3, GUEST, 0, 0, 0, 0], &mut guest, |args, home| {
        let [name, vector, control] = [0, 16, 32].map(|offset| home.u64(args[1] + offset));
        let buffers = [vector, vector + 16].map(|entry| home.u64(entry));
        assert!(home.slice(name, 16).iter().all(|&byte| byte == 1));
        assert!(home.slice(control, 64).iter().all(|&byte| byte == 2));
        assert!(home.slice(buffers[0], 8).iter().all(|&byte| byte == 3));
        assert!(home.slice(buffers[1], 8).iter().all(|&byte| byte == 4));
        16
    });
    assert_eq!(guest.bytes, before);
}

#[test]
fn recvmmsg_brings_only_the_messages_that_came() {
    let mut guest = Space::guest(8192);
    let [first, second] = [GUEST, GUEST + 64];
    guest.put_numbers(first, &[0, 0, GUEST + 1024, 1, 0, 0, 0, 0]);
    guest.put_numbers(second, &[0, 0, GUEST + 1040, 1, 0, 0, 0, 0]);
    guest.put_numbers(GUEST + 1024, &[GUEST + 2048, 100, GUEST + 3072, 100]);
    forwarded(299, &[3, GUEST, 2, 0, 0, 0], &mut guest, |args, home| {
        for message in [args[1], args[1] + 64] {
            let vector = home.u64(message + 16);
            let buffer = home.u64(vector);
            home.slice(buffer, 100).fill(6);
            home.put(message + 56, &5_u32.to_le_bytes());
        }
        1
    });
    assert_eq!((guest.u32(first + 56), guest.u32(second + 56)), (5, 0));
    assert_eq!(guest.slice(GUEST + 2048, 6), [6, 6, 6, 6, 6, 0]);
    assert_eq!(guest.slice(GUEST + 3072, 1), [0]);
}

#[test]
fn an_address_is_cut_to_the_room_there_is_and_its_true_length_told() {
    let mut guest = Space::guest(256);
    guest.put(GUEST, &8_u32.to_le_bytes());
    for number in [51, 52, 43] {
        guest.put(GUEST, &8_u32.to_le_bytes());
        guest.slice(GUEST + 64, 32).fill(0);
        forwarded(
            number,
            &[3, GUEST + 64, GUEST, 0, 0, 0],
            &mut guest,
            |args, home| {
                home.slice(args[1], 8).fill(1);
                home.put(args[2], &16_u32.to_le_bytes());
                0
            },
        );
        assert_eq!(guest.u32(GUEST), 16);
        assert_eq!(guest.slice(GUEST + 64, 9), [1, 1, 1, 1, 1, 1, 1, 1, 0]);
    }
    forwarded(43, &[3, 0, 0, 0, 0, 0], &mut guest, |args, _| {
        assert_eq!((args[1], args[2]), (0, 0));
        4
    });
}

#[test]
fn terminal_requests_have_their_own_sizes() {
    let mut guest = Space::guest(256);
    forwarded(
        16,
        &[0, 0x5401, GUEST, 0, 0, 0],
        &mut guest,
        |args, home| {
            home.slice(args[2], 60).fill(1);
            0
        },
    );
    assert_eq!(guest.bytes.iter().filter(|&&byte| byte == 1).count(), 36);
    // FICLONE encodes a size but takes a descriptor; TCFLSH takes a number.
    for request in [0x4004_9409, 0x540b] {
        let plan = planned(16, &[0, request, GUEST, 0, 0, 0], &mut guest).unwrap();
        assert_eq!((plan.payload().len(), plan.request().args[2]), (0, GUEST));
    }
    // FS_IOC_GETFLAGS encodes a long and moves an int.
    guest.bytes.fill(0);
    forwarded(
        16,
        &[0, 0x8008_6601, GUEST, 0, 0, 0],
        &mut guest,
        |args, home| {
            home.slice(args[2], 8).fill(1);
            0
        },
    );
    assert_eq!(guest.bytes.iter().filter(|&&byte| byte == 1).count(), 4);
}

#[test]
fn an_unknown_request_or_command_comes_home() {
    // DRM_IOCTL_VERSION has pointers in it; TIOCLINUX and TCGETX are not described.
    for request in [0xc040_6400, 0x541c, 0x5432, 0xdead_beef] {
        let class = resolve(lookup(16).unwrap(), &[3, request, 0, 0, 0, 0]);
        assert!(matches!(class, Class::ComesHome(_)), "{request:#x}");
    }
    for (number, args) in [(72, [3, 9999, 0, 0, 0, 0]), (157, [35, 0, 0, 0, 0, 0])] {
        assert!(matches!(
            resolve(lookup(number).unwrap(), &args),
            Class::ComesHome(_)
        ));
    }
}

#[test]
fn fcntl_moves_a_lock_for_lock_commands_only() {
    let mut guest = Space::guest(64);
    let locked = planned(72, &[3, 7, GUEST, 0, 0, 0], &mut guest).unwrap();
    assert_eq!(locked.payload().len(), 32);
    let plain = planned(72, &[3, 4, GUEST, 0, 0, 0], &mut guest).unwrap();
    assert_eq!((plain.payload().len(), plain.request().args[2]), (0, GUEST));
    forwarded(72, &[3, 5, GUEST, 0, 0, 0], &mut guest, |args, home| {
        home.put(args[2], &[2; 32]);
        0
    });
    assert!(guest.slice(GUEST, 32).iter().all(|&byte| byte == 2));
}

#[test]
fn getdents64_and_epoll_wait_bring_what_the_result_counts() {
    let mut guest = Space::guest(4096);
    forwarded(217, &[3, GUEST, 2048, 0, 0, 0], &mut guest, |args, home| {
        home.slice(args[1], 2048).fill(1);
        48
    });
    assert_eq!(guest.bytes.iter().filter(|&&byte| byte == 1).count(), 48);
    guest.bytes.fill(0);
    let args = [3, GUEST, 16, u64::MAX, 0, 0];
    assert!(forward_of(232, &args).facts.restart_after_stop);
    forwarded(232, &args, &mut guest, |args, home| {
        home.slice(args[1], 16 * 12).fill(1);
        3
    });
    assert_eq!(guest.bytes.iter().filter(|&&byte| byte == 1).count(), 36);
}

#[test]
fn deleting_from_an_epoll_set_ignores_its_event() {
    let mut guest = Space::guest(64);
    assert!(planned(233, &[3, 2, 4, 0xdead_0000, 0, 0], &mut guest).is_ok());
    let added = planned(233, &[3, 1, 4, 0xdead_0000, 0, 0], &mut guest);
    assert_eq!(added.unwrap_err(), PlanError::Fault);
}

#[test]
fn wait4_tells_a_status_only_if_there_was_a_child() {
    let mut guest = Space::guest(512);
    for (result, told) in [(0, 0), (-10, 0), (99, 1)] {
        forwarded(
            61,
            &[u64::MAX, GUEST, 1, GUEST + 64, 0, 0],
            &mut guest,
            |args, home| {
                home.slice(args[1], 4).fill(1);
                home.slice(args[3], 144).fill(1);
                result
            },
        );
        assert_eq!(guest.slice(GUEST, 5), [told, told, told, told, 0]);
        assert_eq!(guest.slice(GUEST + 64 + 143, 2), [told, 0]);
    }
}

#[test]
fn a_sleep_tells_what_remains_only_when_interrupted() {
    for (result, remains) in [
        (0, 0),
        (-22, 0),
        (ERESTARTNOINTR, 0),
        (EINTR, 1),
        (ERESTART_RESTARTBLOCK, 1),
    ] {
        let mut guest = Space::guest(64);
        guest.put_numbers(GUEST, &[5, 0]);
        forwarded(
            230,
            &[1, 0, GUEST, GUEST + 16, 0, 0],
            &mut guest,
            |args, home| {
                assert_eq!(home.u64(args[2]), 5);
                home.slice(args[3], 16).fill(1);
                result
            },
        );
        assert_eq!(
            guest.slice(GUEST + 16, 17),
            [[remains; 16].as_slice(), &[0]].concat()
        );
    }
}

#[test]
fn a_handle_has_the_length_that_it_says() {
    let mut guest = Space::guest(256);
    guest.put(GUEST, &[12, 0, 0, 0, 1, 0, 0, 0]);
    let plan = planned(304, &[3, GUEST, 0, 0, 0, 0], &mut guest).unwrap();
    assert_eq!(plan.payload().len(), 20);
}

#[test]
fn a_packet_filter_is_carried_with_its_instructions() {
    let mut guest = Space::guest(256);
    guest.put_numbers(GUEST, &[3, GUEST + 64]);
    guest.slice(GUEST + 64, 24).fill(5);
    forwarded(54, &[3, 1, 26, GUEST, 16, 0], &mut guest, |args, home| {
        let instructions = home.u64(args[3] + 8);
        assert!(home.slice(instructions, 24).iter().all(|&byte| byte == 5));
        0
    });
}

#[test]
fn large_buffers_keep_their_alignment_for_direct_io() {
    let mut guest = Space::guest(32 << 10);
    for offset in [0, 512, 4096, 4097, 513] {
        forwarded(
            17,
            &[3, GUEST + offset, 8192, 0, 0, 0],
            &mut guest,
            |args, _| {
                assert_eq!(args[1] % 4096, (GUEST + offset) % 4096);
                0
            },
        );
        forwarded(
            17,
            &[3, GUEST + offset, 512, 0, 0, 0],
            &mut guest,
            |args, _| {
                assert_eq!(args[1] % 512, (GUEST + offset) % 512);
                0
            },
        );
    }
}

#[test]
fn an_int_argument_counts_by_its_lower_half_only() {
    let mut guest = Space::guest(256);
    let plan = planned(7, &[GUEST, 0xffff_ffff_0000_0002, 0, 0, 0, 0], &mut guest).unwrap();
    assert_eq!(plan.payload().len(), 16);
    // A negative length is for the kernel to refuse.
    let plan = planned(49, &[3, GUEST, u64::MAX, 0, 0, 0], &mut guest).unwrap();
    assert_eq!(plan.payload().len(), 0);
}

#[test]
fn zero_copy_sends_come_home() {
    for (number, flags) in [(44, 3), (46, 2), (307, 3)] {
        let mut args = [0; 6];
        args[flags] = 0x400_0000;
        let call = lookup(number).unwrap();
        assert!(
            matches!(resolve(call, &args), Class::ComesHome(_)),
            "{}",
            call.name
        );
        args[flags] = 0x4000;
        assert!(
            matches!(resolve(call, &args), Class::Forward(_)),
            "{}",
            call.name
        );
    }
}

#[test]
fn only_calls_whose_short_transfer_is_legal_are_shortened() {
    let shortened: Vec<_> = crate::syscall::calls()
        .filter(|call| match call.class {
            Class::Forward(forward) => forward.facts.shortens.is_some(),
            _ => false,
        })
        .map(|call| call.name)
        .collect();
    assert_eq!(
        shortened,
        [
            "read",
            "write",
            "pread64",
            "pwrite64",
            "readv",
            "writev",
            "getdents",
            "getdents64",
            "epoll_wait",
            "epoll_pwait",
            "preadv",
            "pwritev",
            "preadv2",
            "pwritev2",
            "epoll_pwait2",
        ]
    );
    let args = [0; 6];
    assert_eq!(forward_of(19, &args).facts.shortens, Some(Shorten::Vector));
}

#[test]
fn questions_are_invisible_and_changes_are_not() {
    let visible = |number, args: [u64; 6]| forward_of(number, &args).facts.visible;
    for number in [4, 5, 6, 7, 17, 21, 35, 63, 79, 89, 110, 262, 332] {
        assert!(!visible(number, [0; 6]), "{number}");
    }
    for number in [0, 1, 2, 3, 8, 18, 32, 42, 43, 61, 62, 80, 87, 109, 232, 257] {
        assert!(visible(number, [0; 6]), "{number}");
    }
    assert!(!visible(72, [0, 3, 0, 0, 0, 0]) && visible(72, [0, 4, 0, 0, 0, 0]));
    assert!(!visible(16, [0, 0x5401, 0, 0, 0, 0]) && visible(16, [0, 0x5402, 0, 0, 0, 0]));
}
