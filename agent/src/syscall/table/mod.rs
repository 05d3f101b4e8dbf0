//! The table itself, split by families.
//!
//! Each row is `class(number, name, shapes)`. A forwarded call either `changes` something outside the guest or
//! only `asks`; `quick` calls never block for long.

mod events;
mod files;
mod identity;
mod ipc;
mod memory;
mod processes;
mod settings;
mod signals;
mod sockets;
mod system;
mod time;
mod transfer;

use super::shape::{Answer, Call, Class, Forward, SpecialCall};

/// Numbers of x86-64 are below this (the x32 calls, 512 and up, are not ours).
const NUMBERS: usize = 512;

/// The families.
pub(super) const FAMILIES: [&[Call]; 11] = [
    transfer::CALLS,
    files::CALLS,
    events::CALLS,
    sockets::CALLS,
    memory::CALLS,
    signals::CALLS,
    processes::CALLS,
    identity::CALLS,
    time::CALLS,
    ipc::CALLS,
    system::CALLS,
];

/// All calls, by number.
pub(super) static TABLE: [Option<Call>; NUMBERS] = by_number();

const fn by_number() -> [Option<Call>; NUMBERS] {
    let mut table = [None; NUMBERS];
    let mut family = 0;
    while family < FAMILIES.len() {
        let mut row = 0;
        while row < FAMILIES[family].len() {
            let call = FAMILIES[family][row];
            table[call.number as usize] = Some(call);
            row += 1;
        }
        family += 1;
    }
    table
}

const fn forward(number: u32, name: &'static str, forward: Forward) -> Call {
    Call {
        number,
        name,
        class: Class::Forward(forward),
    }
}

const fn local(number: u32, name: &'static str) -> Call {
    Call {
        number,
        name,
        class: Class::Local,
    }
}

const fn special(number: u32, name: &'static str, special: SpecialCall) -> Call {
    Call {
        number,
        name,
        class: Class::Special(special, None),
    }
}

const fn comes_home(number: u32, name: &'static str, reason: &'static str) -> Call {
    Call {
        number,
        name,
        class: Class::ComesHome(reason),
    }
}

const fn not_implemented(number: u32, name: &'static str) -> Call {
    Call {
        number,
        name,
        class: Class::Answered(Answer::NotImplemented),
    }
}

const fn call(number: u32, name: &'static str, class: Class) -> Call {
    Call {
        number,
        name,
        class,
    }
}
