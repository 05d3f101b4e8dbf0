//! `ioctl` by request number.
//!
//! A request number may encode the direction and size of its argument (asm-generic/ioctl.h), but many do not, and
//! some lie: they encode `long` for an `int`, a pointer for a plain value, or a structure with pointers
//! in it. So only requests that are known, or lie in a range whose encoding is known to be true, are
//! forwarded; for every other one the process goes home.

use super::shape::Argument::{self, Descriptor, In, InOut, Out, Value};
use super::shape::Filled::{Always, Whole};
use super::shape::{Class, Command, Length, Pointer, Structure, asks, changes, fixed};

/// The class of a request.
pub(super) fn class(request: u32) -> &'static Class {
    if let Some(known) = KNOWN.iter().find(|known| known.values.contains(&request)) {
        return &known.class;
    }
    let (letter, number) = ((request >> 8) as u8, request as u8);
    let direction = request >> 30;
    let truthful = TRUTHFUL.iter().any(|range| {
        range.letter == letter
            && (range.first..=range.last).contains(&number)
            && (direction == READ || !range.read_only)
    });
    match direction {
        READ if truthful => &READS,
        WRITE if truthful => &WRITES,
        READ_WRITE if truthful => &READS_AND_WRITES,
        _ => &UNKNOWN,
    }
}

/// Directions of an encoded request: what the program does, not the kernel.
const WRITE: u32 = 1;
const READ: u32 = 2;
const READ_WRITE: u32 = 3;

/// The kernel may fill less than the encoded size, or read it first: old contents travel along.
const ENCODED: Argument = InOut(Length::Encoded(1), Always);

static READS: Class = Class::Forward(asks(&[Descriptor, Value, ENCODED]));
static READS_AND_WRITES: Class = Class::Forward(changes(&[Descriptor, Value, ENCODED]));
static WRITES: Class = Class::Forward(changes(&[Descriptor, Value, In(Length::Encoded(1))]));
static UNKNOWN: Class = Class::ComesHome("this ioctl request is not known");

/// Requests of one letter whose encoded direction and size are true.
struct Truthful {
    letter: u8,
    first: u8,
    last: u8,
    /// Only those by which the program reads.
    read_only: bool,
}

const fn truthful(letter: u8, first: u8, last: u8) -> Truthful {
    Truthful {
        letter,
        first,
        last,
        read_only: false,
    }
}

const TRUTHFUL: &[Truthful] = &[
    // TCGETS2 ... TCSETSF2; TIOCGPTN ... TIOCGDEV; TIOCGPKT, TIOCGPTLCK; TIOCGEXCL.
    truthful(b'T', 0x2a, 0x2d),
    truthful(b'T', 0x30, 0x32),
    truthful(b'T', 0x38, 0x39),
    truthful(b'T', 0x40, 0x40),
    // FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR; FITRIM.
    truthful(b'X', 31, 32),
    truthful(b'X', 121, 121),
    // FICLONERANGE; FS_IOC_GETFSLABEL, FS_IOC_SETFSLABEL.
    truthful(0x94, 13, 13),
    truthful(0x94, 49, 50),
    // BLKGETSIZE64.
    truthful(0x12, 114, 114),
    // Magnetic tape: MTIOCTOP, MTIOCGET, MTIOCPOS.
    truthful(b'm', 1, 3),
    // Entropy pool: RNDGETENTCNT, RNDADDTOENTCNT.
    truthful(b'R', 0, 1),
    // Watchdog, but for WDIOC_KEEPALIVE (5), which ignores its argument.
    truthful(b'W', 0, 4),
    truthful(b'W', 6, 10),
    // RTC_RD_TIME.
    truthful(b'p', 9, 9),
    // SIOCGSTAMP_NEW, SIOCGSTAMPNS_NEW.
    truthful(0x89, 6, 7),
    // NS_GET_MNTNS_ID.
    truthful(0xb7, 5, 5),
    // PIDFD_GET_INFO.
    truthful(0xff, 11, 11),
    // EVIOCG...: what an input device is and which keys are down.
    Truthful {
        letter: b'E',
        first: 0x00,
        last: 0x7f,
        read_only: true,
    },
];

const fn value(values: &'static [u32]) -> Command {
    Command {
        values,
        class: Class::Forward(changes(&[Descriptor, Value, Value])),
    }
}

const fn row(values: &'static [u32], class: Class) -> Command {
    Command { values, class }
}

const INT_IN: Class = Class::Forward(changes(&[Descriptor, Value, In(fixed(4))]));
const INT_OUT: Class = Class::Forward(asks(&[Descriptor, Value, Out(fixed(4), Whole)]));
const LONG_OUT: Class = Class::Forward(asks(&[Descriptor, Value, Out(fixed(8), Whole)]));
const SHORT_OUT: Class = Class::Forward(asks(&[Descriptor, Value, Out(fixed(2), Whole)]));
const BYTE_IN: Class = Class::Forward(changes(&[Descriptor, Value, In(fixed(1))]));
const BYTE_OUT: Class = Class::Forward(asks(&[Descriptor, Value, Out(fixed(1), Whole)]));
const TERMIOS_IN: Class = Class::Forward(changes(&[Descriptor, Value, In(fixed(36))]));
const TERMIOS_OUT: Class = Class::Forward(asks(&[Descriptor, Value, Out(fixed(36), Whole)]));
const TERMIO_IN: Class = Class::Forward(changes(&[Descriptor, Value, In(fixed(18))]));
const TERMIO_OUT: Class = Class::Forward(asks(&[Descriptor, Value, Out(fixed(18), Whole)]));
const WINDOW_IN: Class = Class::Forward(changes(&[Descriptor, Value, In(fixed(8))]));
const WINDOW_OUT: Class = LONG_OUT;
const PAIR_IN: Class = Class::Forward(changes(&[Descriptor, Value, In(fixed(16))]));
const PAIR_OUT: Class = Class::Forward(asks(&[Descriptor, Value, Out(fixed(16), Whole)]));
const SERIAL_IN: Class = Class::Forward(changes(&[Descriptor, Value, In(fixed(72))]));
const SERIAL_OUT: Class = Class::Forward(asks(&[Descriptor, Value, Out(fixed(72), Whole)]));
const COUNTERS_OUT: Class = Class::Forward(asks(&[Descriptor, Value, InOut(fixed(80), Always)]));
const VT_STATE_OUT: Class = Class::Forward(asks(&[Descriptor, Value, Out(fixed(6), Whole)]));
const INT_BOTH: Class = Class::Forward(asks(&[Descriptor, Value, InOut(fixed(4), Always)]));
/// `struct ifreq`.
const INTERFACE_GET: Class = Class::Forward(asks(&[Descriptor, Value, InOut(fixed(40), Always)]));
const INTERFACE_SET: Class =
    Class::Forward(changes(&[Descriptor, Value, InOut(fixed(40), Always)]));
/// `struct arpreq`.
const ARP: Class = Class::Forward(changes(&[Descriptor, Value, InOut(fixed(68), Always)]));
/// `struct ifconf`: the length of a buffer, and where it is.
const INTERFACES: Class = Class::Forward(asks(&[
    Descriptor,
    Value,
    Argument::Structure(&INTERFACE_LIST),
]));
const INTERFACE_LIST: Structure = Structure {
    length_bytes: 16,
    pointers: &[Pointer {
        offset: 8,
        length_offset: 0,
        length_width: 4,
        unit: 1,
        out: true,
    }],
    returns: Some((0, 4)),
};

/// The requests that are known one by one.
static KNOWN: &[Command] = &[
    // TCGETS, TIOCGLCKTRMIOS; TCSETS, TCSETSW, TCSETSF, TIOCSLCKTRMIOS.
    row(&[0x5401, 0x5456], TERMIOS_OUT),
    row(&[0x5402, 0x5403, 0x5404, 0x5457], TERMIOS_IN),
    // TIOCGWINSZ, TIOCSWINSZ.
    row(&[0x5413], WINDOW_OUT),
    row(&[0x5414], WINDOW_IN),
    // FIONREAD, TIOCGPGRP, TIOCOUTQ, TIOCGSID, TIOCMGET, TIOCGSOFTCAR, TIOCGETD, TIOCSERGETLSR.
    row(
        &[
            0x541b, 0x540f, 0x5411, 0x5429, 0x5415, 0x5419, 0x5424, 0x5459,
        ],
        INT_OUT,
    ),
    // FIONBIO, FIOASYNC, TIOCSPGRP, TIOCMBIS, TIOCMBIC, TIOCMSET, TIOCSSOFTCAR, TIOCPKT, TIOCSETD.
    row(
        &[
            0x5421, 0x5452, 0x5410, 0x5416, 0x5417, 0x5418, 0x541a, 0x5420, 0x5423,
        ],
        INT_IN,
    ),
    // FIOCLEX, FIONCLEX, TIOCSCTTY, TIOCNOTTY, TCSBRK, TCXONC, TCFLSH, TIOCEXCL, TIOCNXCL, TCSBRKP, TIOCSBRK,
    // TIOCCBRK, TIOCCONS, TIOCVHANGUP, TIOCGPTPEER, TIOCMIWAIT, TIOCSIG.
    value(&[
        0x5451,
        0x5450,
        0x540e,
        0x5422,
        0x5409,
        0x540a,
        0x540b,
        0x540c,
        0x540d,
        0x5425,
        0x5427,
        0x5428,
        0x541d,
        0x5437,
        0x5441,
        0x545c,
        0x4004_5436,
    ]),
    // TCGETA; TCSETA, TCSETAW, TCSETAF.
    row(&[0x5405], TERMIO_OUT),
    row(&[0x5406, 0x5407, 0x5408], TERMIO_IN),
    // TIOCSTI; TIOCGSERIAL, TIOCSSERIAL; TIOCGICOUNT; FIOQSIZE.
    row(&[0x5412], BYTE_IN),
    row(&[0x541e], SERIAL_OUT),
    row(&[0x541f], SERIAL_IN),
    row(&[0x545d], COUNTERS_OUT),
    row(&[0x5460], LONG_OUT),
    // Files. FIBMAP; FIGETBSZ; FS_IOC_GETFLAGS and _GETVERSION, FS_IOC_SETFLAGS and _SETVERSION, which encode a
    // `long` and move an `int`; FICLONE takes a descriptor.
    row(&[0x1], INT_BOTH),
    row(&[0x2, 0x8008_6601, 0x8008_7601], INT_OUT),
    row(&[0x4008_6602, 0x4008_7602], INT_IN),
    value(&[0x4004_9409]),
    // Block devices. BLKROGET, BLKSSZGET, BLKIOMIN, BLKIOOPT, BLKALIGNOFF, BLKPBSZGET, BLKDISCARDZEROES,
    // BLKBSZGET (encodes size_t, moves an int).
    row(
        &[
            0x125e,
            0x1268,
            0x1278,
            0x1279,
            0x127a,
            0x127b,
            0x127c,
            0x8008_1270,
        ],
        INT_OUT,
    ),
    // BLKROSET, BLKBSZSET; BLKGETSIZE, BLKRAGET; BLKSECTGET, BLKROTATIONAL.
    row(&[0x125d, 0x4008_1271], INT_IN),
    row(&[0x1260, 0x1263], LONG_OUT),
    row(&[0x1267, 0x127e], SHORT_OUT),
    // BLKDISCARD, BLKZEROOUT; BLKRRPART, BLKFLSBUF, BLKRASET; HDIO_GETGEO.
    row(&[0x1277, 0x127f], PAIR_IN),
    value(&[0x125f, 0x1261, 0x1262]),
    row(&[0x0301], PAIR_OUT),
    // Namespaces. NS_GET_USERNS, _PARENT, _NSTYPE, and the four that take a pid; NS_GET_OWNER_UID.
    value(&[
        0xb701,
        0xb702,
        0xb703,
        0x8004_b706,
        0x8004_b707,
        0x8004_b708,
        0x8004_b709,
    ]),
    row(&[0xb704], INT_OUT),
    // PIDFD_GET_..._NAMESPACE. WDIOC_KEEPALIVE.
    value(&[
        0xff01,
        0xff02,
        0xff03,
        0xff04,
        0xff05,
        0xff06,
        0xff07,
        0xff08,
        0xff09,
        0xff0a,
        0x8004_5705,
    ]),
    // Consoles. KDGKBTYPE, KDGETLED; KDGETMODE, KDGKBMODE, VT_OPENQRY.
    row(&[0x4b33, 0x4b31], BYTE_OUT),
    row(&[0x4b3b, 0x4b44, 0x5600], INT_OUT),
    // KIOCSOUND, KDMKTONE, KDSETLED, KDSETMODE, KDSKBMODE, KDSIGACCEPT, VT_RELDISP, VT_ACTIVATE, VT_WAITACTIVE,
    // VT_DISALLOCATE.
    value(&[
        0x4b2f, 0x4b30, 0x4b32, 0x4b3a, 0x4b45, 0x4b4e, 0x5605, 0x5606, 0x5607, 0x5608,
    ]),
    // VT_GETMODE, VT_SETMODE, VT_GETSTATE.
    row(&[0x5601], WINDOW_OUT),
    row(&[0x5602], WINDOW_IN),
    row(&[0x5603], VT_STATE_OUT),
    // Sockets. FIOSETOWN, SIOCSPGRP; FIOGETOWN, SIOCGPGRP, SIOCATMARK; SIOCGSTAMP, SIOCGSTAMPNS; SIOCGSKNS.
    row(&[0x8901, 0x8902], INT_IN),
    row(&[0x8903, 0x8904, 0x8905], INT_OUT),
    row(&[0x8906, 0x8907], PAIR_OUT),
    value(&[0x894c]),
    row(&[0x8912], INTERFACES),
    // SIOCGIFNAME, FLAGS, ADDR, DSTADDR, BRDADDR, NETMASK, METRIC, MEM, MTU, HWADDR, INDEX, PFLAGS, TXQLEN, MAP.
    row(
        &[
            0x8910, 0x8913, 0x8915, 0x8917, 0x8919, 0x891b, 0x891d, 0x891f, 0x8921, 0x8927, 0x8933,
            0x8935, 0x8942, 0x8970,
        ],
        INTERFACE_GET,
    ),
    // Their counterparts SIOCSIF..., SIOCADDMULTI, SIOCDELMULTI, SIOCDIFADDR; TUNSETIFF and TUNGETIFF, which
    // encode an `int`.
    row(
        &[
            0x8914,
            0x8916,
            0x8918,
            0x891a,
            0x891c,
            0x891e,
            0x8920,
            0x8922,
            0x8923,
            0x8924,
            0x8931,
            0x8932,
            0x8934,
            0x8936,
            0x8937,
            0x8943,
            0x8971,
            0x4004_54ca,
            0x8004_54d2,
        ],
        INTERFACE_SET,
    ),
    // SIOCDARP, SIOCGARP, SIOCSARP.
    row(&[0x8953, 0x8954, 0x8955], ARP),
    // TUNSETPERSIST, TUNSETOWNER, TUNSETLINK, TUNSETGROUP, TUNSETOFFLOAD take plain values.
    value(&[
        0x4004_54cb,
        0x4004_54cc,
        0x4004_54cd,
        0x4004_54ce,
        0x4004_54d0,
    ]),
];
