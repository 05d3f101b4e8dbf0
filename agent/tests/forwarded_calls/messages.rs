//! Sockets and message queues.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

use crate::harness::Expect::{Same, Success, Whatever};
use crate::harness::{Guest, verify};
use crate::sys;

fn fd(socket: &impl AsRawFd) -> u64 {
    u64::try_from(socket.as_raw_fd()).unwrap()
}

fn word(number: u32) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

/// A `struct msghdr` with two buffers.
fn message(guest: &mut Guest, control: &[u8]) -> Vec<u64> {
    let buffers = [guest.put(b"long-billed"), 11, guest.put(b"wader"), 5];
    let vector = guest.numbers(&buffers);
    let control_length = control.len() as u64;
    let control = if control.is_empty() {
        0
    } else {
        guest.put(control)
    };
    vec![0, 0, vector, 2, control, control_length, 0]
}

/// Control data that passes one descriptor.
fn rights(descriptor: u64) -> Vec<u8> {
    let mut control = [20_u64.to_le_bytes(), [1, 0, 0, 0, 1, 0, 0, 0]].concat();
    control.extend(descriptor.to_le_bytes());
    control
}

#[test]
fn datagrams_carry_names_bytes_and_descriptors() {
    let (sender, receiver) = UnixDatagram::pair().unwrap();
    verify("sendmsg", Same, |guest| {
        let header = message(guest, &rights(1));
        [fd(&sender), guest.numbers(&header), 0, 0, 0, 0]
    });
    verify("recvmsg", Success, |guest| {
        let mut header = message(guest, &[0; 64]);
        (header[0], header[1]) = (guest.room(110), 110);
        [fd(&receiver), guest.numbers(&header), 0, 0, 0, 0]
    });
    let mut buffer = [0; 64];
    while receiver.set_nonblocking(true).is_ok() && receiver.recv(&mut buffer).is_ok() {}
    verify("sendmmsg", Same, |guest| {
        let mut headers = message(guest, &[]);
        headers.push(0);
        let mut second = message(guest, &[]);
        second.push(0);
        headers.extend(second);
        [fd(&sender), guest.numbers(&headers), 2, 0, 0, 0]
    });
    verify("recvmmsg", Success, |guest| {
        let mut headers = message(guest, &[]);
        headers.push(0);
        headers.extend(headers.clone());
        sender.send(b"again").unwrap();
        sender.send(b"and again").unwrap();
        [
            fd(&receiver),
            guest.numbers(&headers),
            2,
            0,
            guest.numbers(&[1, 0]),
            0,
        ]
    });
}

#[test]
fn addresses_come_with_their_true_length() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let own = socket.local_addr().unwrap();
    socket.connect(own).unwrap();
    for room in [128, 16, 5, 0] {
        for name in ["getsockname", "getpeername"] {
            verify(name, Same, |guest| {
                [
                    fd(&socket),
                    guest.room(128),
                    guest.put(&word(room)),
                    0,
                    0,
                    0,
                ]
            });
        }
        verify("recvfrom", Same, |guest| {
            socket.send(b"hello").unwrap();
            let address = guest.room(128);
            [
                fd(&socket),
                guest.room(100),
                100,
                0,
                address,
                guest.put(&word(room)),
            ]
        });
    }
    let mut address = [0; 16];
    address[0] = 2;
    address[2..4].copy_from_slice(&own.port().to_be_bytes());
    address[4..8].copy_from_slice(&[127, 0, 0, 1]);
    verify("sendto", Same, |guest| {
        [fd(&socket), guest.put(b"hi"), 2, 0, guest.put(&address), 16]
    });
    verify("connect", Same, |guest| {
        [fd(&socket), guest.put(&address), 16, 0, 0, 0]
    });
    // MSG_TRUNC: the result says more than the buffer holds.
    verify("recvfrom", Same, |guest| {
        socket.send(b"a longer message").unwrap();
        [fd(&socket), guest.room(4), 4, 0x20, 0, 0]
    });
}

#[test]
fn connections_are_accepted_with_their_peer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peers = Vec::new();
    verify("accept4", Success, |guest| {
        peers.push(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        [
            fd(&listener),
            guest.room(64),
            guest.put(&word(64)),
            0o2_000_000,
            0,
            0,
        ]
    });
    // SO_TYPE, SO_LINGER, SO_RCVTIMEO, SO_PEERCRED; and TCP_INFO, TCP_CONGESTION.
    for (level, option, room) in [
        (1, 3, 4),
        (1, 13, 8),
        (1, 20, 16),
        (1, 17, 12),
        (6, 11, 256),
        (6, 13, 16),
        (6, 13, 3),
    ] {
        verify("getsockopt", Whatever, |guest| {
            let length = guest.put(&word(room));
            [fd(&listener), level, option, guest.room(256), length, 0]
        });
    }
    verify("setsockopt", Same, |guest| {
        [fd(&listener), 1, 2, guest.put(&word(1)), 4, 0]
    });
    // SO_ATTACH_FILTER: return everything. Some machines forbid it to ordinary users.
    verify("setsockopt", Whatever, |guest| {
        let instruction = guest.numbers(&[0xffff_ffff_0000_0006]);
        [
            fd(&listener),
            1,
            26,
            guest.numbers(&[1, instruction]),
            16,
            0,
        ]
    });
}

#[test]
fn interfaces_are_listed_into_the_buffer_given() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Interfaces may come and go between the calls.
    verify("ioctl", Success, |guest| {
        let buffer = guest.room(400);
        [fd(&socket), 0x8912, guest.numbers(&[400, buffer]), 0, 0, 0]
    });
    // SIOCGIFFLAGS, SIOCGIFMTU, SIOCGIFINDEX of lo; FIONREAD; SIOCATMARK is for streams.
    for request in [0x8913, 0x8921, 0x8933] {
        verify("ioctl", Same, |guest| {
            let mut name = [0; 40];
            name[..2].copy_from_slice(b"lo");
            [fd(&socket), request, guest.put(&name), 0, 0, 0]
        });
    }
    verify("ioctl", Same, |guest| {
        [fd(&socket), 0x541b, guest.room(4), 0, 0, 0]
    });
}

#[test]
fn system_v_messages_bring_their_type_and_bytes() {
    let queue = sys::call(68, &[0, 0o1600, 0, 0, 0, 0]);
    if queue < 0 {
        // A kernel without System V queues says so; there is nothing to compare then.
        assert_eq!(queue, -i64::from(libc::ENOSYS));
        return;
    }
    let queue = queue as u64;
    for _ in 0..2 {
        verify("msgsnd", Same, |guest| {
            let contents = [7_u64.to_le_bytes().as_slice(), b"godwit"].concat();
            [queue, guest.put(&contents), 6, 0, 0, 0]
        });
    }
    verify("msgctl", Success, |guest| {
        [queue, 2, guest.room(200), 0, 0, 0]
    });
    verify("msgctl", Success, |guest| {
        [queue, 3, guest.room(200), 0, 0, 0]
    });
    verify("msgrcv", Same, |guest| {
        [queue, guest.room(108), 100, 0, 0, 0]
    });
    assert_eq!(sys::call(71, &[queue, 0, 0, 0, 0, 0]), 0);
}

#[test]
fn semaphores_and_shared_memory_tell_their_state() {
    let set = sys::call(64, &[0, 2, 0o1600, 0, 0, 0]);
    let memory = sys::call(29, &[0, 4096, 0o1600, 0, 0, 0]);
    if set < 0 || memory < 0 {
        assert_eq!(set.min(memory), -i64::from(libc::ENOSYS));
        return;
    }
    let (set, memory) = (set as u64, memory as u64);
    verify("semop", Same, |guest| {
        [set, guest.put(&[0, 0, 1, 0, 0, 0]), 1, 0, 0, 0]
    });
    verify("semtimedop", Same, |guest| {
        let operation = guest.put(&[1, 0, 1, 0, 0, 0]);
        [set, operation, 1, guest.numbers(&[1, 0]), 0, 0]
    });
    for command in [2, 3, 19] {
        verify("semctl", Success, |guest| {
            [set, 0, command, guest.room(200), 0, 0]
        });
    }
    for command in [2, 3, 14] {
        verify("shmctl", Success, |guest| {
            [memory, command, guest.room(200), 0, 0, 0]
        });
    }
    assert_eq!(sys::call(66, &[set, 0, 0, 0, 0, 0]), 0);
    assert_eq!(sys::call(31, &[memory, 0, 0, 0, 0, 0]), 0);
}

#[test]
fn posix_queues_bring_message_and_priority() {
    let name = format!("limosa-{}\0", std::process::id());
    let attributes = [0_u64, 10, 64, 0, 0, 0, 0, 0];
    let args = [
        name.as_ptr() as u64,
        0o102,
        0o600,
        attributes.as_ptr() as u64,
        0,
        0,
    ];
    let queue = sys::call(240, &args);
    if queue < 0 {
        assert_eq!(queue, -i64::from(libc::ENOSYS));
        return;
    }
    let queue = queue as u64;
    for _ in 0..2 {
        verify("mq_timedsend", Same, |guest| {
            [queue, guest.put(b"godwit"), 6, 3, 0, 0]
        });
    }
    verify("mq_timedreceive", Same, |guest| {
        let buffer = guest.room(64);
        [queue, buffer, 64, guest.room(4), guest.numbers(&[1, 0]), 0]
    });
    verify("mq_getsetattr", Same, |guest| {
        [queue, 0, guest.room(64), 0, 0, 0]
    });
    assert_eq!(sys::call(241, &[name.as_ptr() as u64, 0, 0, 0, 0, 0]), 0);
}
