//! Whatever arguments a program passes and whatever bytes a peer sends: no panic, no piece outside its bounds,
//! and both sides derive the same.

use proptest::prelude::*;

use super::world::{GUEST, SCRATCH, Space, laid_out, scratch};
use crate::limits::{FORWARD_BYTES_MAX, FORWARD_SCRATCH_BYTES};
use crate::syscall::{
    Call, Class, Forward, Limits, Request, Write, calls, layout, lookup, plan, resolve,
};

const GUEST_BYTES: usize = 1024;

/// Numbers of all calls, so that every family is tried; those with many pointers more often.
fn number() -> impl Strategy<Value = u64> {
    const INTRICATE: [&str; 16] = [
        "readv",
        "writev",
        "preadv2",
        "sendmsg",
        "recvmsg",
        "sendmmsg",
        "recvmmsg",
        "poll",
        "ppoll",
        "select",
        "pselect6",
        "epoll_pwait",
        "recvfrom",
        "getsockopt",
        "name_to_handle_at",
        "openat",
    ];
    let of = |passes: fn(&&Call) -> bool| {
        let numbers = calls().filter(passes).map(|call| u64::from(call.number));
        proptest::sample::select(numbers.collect::<Vec<_>>())
    };
    prop_oneof![of(|_| true), of(|call| INTRICATE.contains(&call.name))]
}

/// Arguments that programs pass: pointers into the guest, small counts, commands, and nonsense.
fn argument() -> impl Strategy<Value = u64> {
    prop_oneof![
        12 => (0..GUEST_BYTES as u64 / 16).prop_map(|word| GUEST + word * 8),
        8 => 0_u64..8,
        1 => 0_u64..80,
        1 => Just(0),
        1 => 0x5400_u64..0x5480,
        1 => any::<u64>(),
        1 => any::<u32>().prop_map(u64::from),
        1 => Just(u64::MAX),
    ]
}

/// Memory in which pointers and counts occur.
fn contents() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        6 => (0..GUEST_BYTES as u64 / 16).prop_map(|word| GUEST + word * 8),
        12 => 0_u64..8,
        1 => any::<u64>(),
    ];
    proptest::collection::vec(word, GUEST_BYTES / 8)
        .prop_map(|words| words.into_iter().flat_map(u64::to_le_bytes).collect())
}

fn result() -> impl Strategy<Value = i64> {
    prop_oneof![3 => 0_i64..300, 1 => Just(-4), 1 => Just(-516), 1 => any::<i64>()]
}

fn forward_of(number: u64, args: &[u64; 6]) -> Option<&'static Forward> {
    match resolve(lookup(number)?, args) {
        Class::Forward(forward) | Class::Special(_, Some(forward)) => Some(forward),
        _ => None,
    }
}

fn bytes_of(writes: &[Write]) -> u64 {
    writes.iter().map(|write| write.bytes.len() as u64).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    /// A plan that the guest side makes is accepted at home, stays in the scratch area, and its reply fits.
    #[test]
    fn both_sides_derive_the_same(
        number in number(),
        args in proptest::array::uniform6(argument()),
        bytes in contents(),
        result in result(),
    ) {
        let Some(forward) = forward_of(number, &args) else { return Ok(()) };
        let mut guest = Space { base: GUEST, bytes };
        let Ok(planned) = plan(number, &args, forward, &mut guest, Limits::default()) else {
            return Ok(());
        };
        prop_assert!(planned.payload().len() as u64 <= FORWARD_BYTES_MAX);
        let mut home = scratch();
        let layout = laid_out(&planned, &mut home);
        let mut places: Vec<_> = layout.writes.iter()
            .map(|write| write.address..write.address + write.bytes.len() as u64)
            .collect();
        places.sort_by_key(|place| place.start);
        prop_assert!(places.windows(2).all(|pair| pair[0].end <= pair[1].start));
        prop_assert_eq!(bytes_of(&layout.writes), planned.payload().len() as u64);
        let reply = layout.collect(result, &mut home).unwrap();
        let writes = planned.scatter(result, &reply).unwrap();
        prop_assert_eq!(bytes_of(&writes), reply.len() as u64);
        // One byte more or less is noticed.
        let longer = [reply.as_slice(), &[0]].concat();
        prop_assert!(planned.scatter(result, &longer).is_err());
        if let Some((_, shorter)) = reply.split_last() {
            prop_assert!(planned.scatter(result, shorter).is_err());
        }
    }

    /// A request of arbitrary bytes is refused or laid out within the scratch area; nothing else.
    #[test]
    fn arbitrary_requests_stay_within_the_scratch_area(
        number in prop_oneof![9 => number().boxed(), 1 => any::<u64>().boxed()],
        args in proptest::array::uniform6(argument()),
        mut payload in proptest::collection::vec(any::<u8>(), 0..512),
        result in result(),
    ) {
        let end = SCRATCH + FORWARD_SCRATCH_BYTES;
        let sent = payload.len() as u64;
        let request = Request { number, args };
        let Ok(layout) = layout(&request, &mut payload, SCRATCH..end) else { return Ok(()) };
        prop_assert_eq!(bytes_of(&layout.writes), sent);
        for write in &layout.writes {
            prop_assert!(write.address >= SCRATCH);
            prop_assert!(write.address + write.bytes.len() as u64 <= end);
        }
        // Reading outside of it would fail here: the fake deputy has nothing else.
        let mut home = scratch();
        prop_assert!(layout.collect(result, &mut home).is_ok());
    }

    /// A reply of arbitrary bytes is refused or written where the call's own buffers are.
    #[test]
    fn arbitrary_replies_never_panic(
        number in number(),
        args in proptest::array::uniform6(argument()),
        bytes in contents(),
        result in any::<i64>(),
        reply in proptest::collection::vec(any::<u8>(), 0..512),
    ) {
        let Some(forward) = forward_of(number, &args) else { return Ok(()) };
        let mut guest = Space { base: GUEST, bytes };
        let Ok(planned) = plan(number, &args, forward, &mut guest, Limits::default()) else {
            return Ok(());
        };
        if let Ok(writes) = planned.scatter(result, &reply) {
            prop_assert_eq!(bytes_of(&writes), reply.len() as u64);
        }
    }
}

#[test]
fn calls_that_are_not_forwarded_are_refused() {
    for number in [9, 11, 12, 56, 57, 60, 101, 202, 231, 337, 425, u64::MAX] {
        let request = Request {
            number,
            args: [0; 6],
        };
        assert!(
            layout(&request, &mut [], SCRATCH..SCRATCH + 4096).is_err(),
            "{number}"
        );
    }
}

#[test]
fn a_request_that_is_too_large_or_does_not_fit_is_refused() {
    let large = Request {
        number: 0,
        args: [0, GUEST, FORWARD_BYTES_MAX + 1, 0, 0, 0],
    };
    assert!(layout(&large, &mut [], SCRATCH..u64::MAX).is_err());
    let wide = Request {
        number: 0,
        args: [0, GUEST, 8192, 0, 0, 0],
    };
    assert!(layout(&wide, &mut [], SCRATCH..SCRATCH + 4096).is_err());
    let short = Request {
        number: 1,
        args: [0, GUEST, 10, 0, 0, 0],
    };
    assert!(layout(&short, &mut [0; 9], SCRATCH..SCRATCH + 4096).is_err());
    assert!(layout(&short, &mut [0; 11], SCRATCH..SCRATCH + 4096).is_err());
    assert!(layout(&short, &mut [0; 10], SCRATCH..SCRATCH + 4096).is_ok());
}

#[test]
fn the_largest_calls_fit_into_the_scratch_area() {
    // 1023 iovecs of 1 byte in each of 4 messages: many small pieces. And one large misaligned buffer.
    let mut guest = Space::guest(1 << 20);
    let vector = GUEST + 4096;
    for message in 0..4 {
        guest.put_numbers(GUEST + message * 64, &[0, 0, vector, 1000, 0, 0, 0, 0]);
    }
    for entry in 0..1000 {
        guest.put_numbers(vector + entry * 16, &[GUEST + 511, 1]);
    }
    let args = [3, GUEST, 4, 0, 0, 0];
    let many = plan(
        307,
        &args,
        forward_of(307, &args).unwrap(),
        &mut guest,
        Limits::default(),
    );
    let mut home = scratch();
    laid_out(&many.unwrap(), &mut home);
    let args = [3, GUEST + 4095, FORWARD_BYTES_MAX, 0, 0, 0];
    let large = plan(
        45,
        &args,
        forward_of(45, &args).unwrap(),
        &mut guest,
        Limits::default(),
    );
    laid_out(&large.unwrap(), &mut home);
}
