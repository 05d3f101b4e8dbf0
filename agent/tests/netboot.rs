//! `limosa netboot` as network cards meet it: its answers over a real link between two network namespaces.
//!
//! A client in python does what firmware does, byte for byte by the RFCs and by no code of ours: asks by
//! DHCP, loads by TFTP and by HTTP, and prints what it got.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const LIMOSA: &str = env!("CARGO_BIN_EXE_limosa");

/// The client: it asks as BIOS firmware does until it is answered, takes the address, and loads.
const CLIENT: &str = r#"
import socket, struct, sys, time, urllib.request, urllib.error
MAC = bytes.fromhex("5254000000aa")
def message(kind, *options):
    fixed = struct.pack(">BBBBIHH", 1, 1, 6, 0, 7, 0, 0x8000) + bytes(16) + MAC + bytes(202) + bytes([99, 130, 83, 99])
    options = [(53, bytes([kind])), (60, b"PXEClient:Arch:00000"), (93, b"\0\0")] + list(options)
    return fixed + b"".join(bytes([code, len(value)]) + value for code, value in options) + b"\xff"
def options(data):
    found, at = {}, 240
    while data[at] != 255:
        if data[at]: found[data[at]] = data[at + 2:at + 2 + data[at + 1]]; at += 2 + data[at + 1]
        else: at += 1
    return found
def exchange(sock, packet, to):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            sock.sendto(packet, to)
            return sock.recvfrom(2000)
        except (TimeoutError, OSError):
            time.sleep(0.1)
    sys.exit("nobody answers")
card = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
card.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
card.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"card")
card.bind(("", 68)); card.settimeout(0.3)
card.sendto(b"no DHCP at all", ("255.255.255.255", 67))
offer, _ = exchange(card, message(1), ("255.255.255.255", 67))
address, server = socket.inet_ntoa(offer[16:20]), socket.inet_ntoa(offer[20:24])
given = options(offer)
print("offer", address, server, given[67].decode())
wanted = [(50, offer[16:20]), (54, given[54])]
confirmed, _ = exchange(card, message(3, *wanted), ("255.255.255.255", 67))
print("confirmed", options(confirmed)[53][0], socket.inet_ntoa(confirmed[16:20]))
import subprocess
subprocess.run(["ip", "address", "add", address + "/24", "dev", "card"], check=True)
def load(name, *opts):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); sock.settimeout(5)
    sock.sendto(b"\0\1" + name + b"\0octet\0" + b"".join(o + b"\0" for o in opts), (server, 69))
    size, data, expected = 512, b"", 1
    while True:
        packet, peer = sock.recvfrom(2000)
        kind, number = struct.unpack(">HH", packet[:4])
        if kind == 5: return packet[4:-1].decode()
        if kind == 6:
            size = int(dict(zip(*[iter(packet[2:].split(b"\0")[:-1])] * 2))[b"blksize"])
            sock.sendto(b"\0\4\0\0", peer); continue
        if number == expected & 0xffff:
            data += packet[4:]; expected += 1
            sock.sendto(struct.pack(">HH", 4, number), peer)
            if len(packet) < size + 4: return data
print("loader", load(b"undionly.kpxe"))
print("kernel", len(load(b"vmlinuz", b"blksize", b"1400", b"tsize", b"0")), load(b"vmlinuz", b"blksize", b"1400")[-4:])
print("secret", load(b"../key"))
site = "http://%s:4461/" % server
print("script", urllib.request.urlopen(site + "boot.ipxe").read().decode().splitlines())
print("initramfs", len(urllib.request.urlopen(site + "initramfs.img").read()))
try: urllib.request.urlopen(site + "key")
except urllib.error.HTTPError as error: print("refused", error.code)
slow = socket.create_connection((server, 4461))
slow.sendall(b"x" * 3000); print("nonsense", slow.recv(12))
"#;

struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An image of the right form: the EFI program's head names where the others are to lie in it.
fn write_image(directory: &Path) {
    let (kernel, initramfs) = (vec![b'k'; 100_000], vec![b'i'; 5_000]);
    let mut head = vec![0; 512];
    head[0x3c] = 0x80;
    head[0x86] = 2;
    let rows = [
        (b".linux\0\0", 100_000_u32, 512_u32),
        (b".initrd\0", 9_096, 100_864),
    ];
    for (index, (name, size, begin)) in rows.into_iter().enumerate() {
        let section = 0x80 + 24 + index * 40;
        head[section..section + 8].copy_from_slice(name);
        for (offset, number) in [(8, size), (16, size), (20, begin)] {
            head[section + offset..section + offset + 4].copy_from_slice(&number.to_le_bytes());
        }
    }
    std::fs::write(directory.join("vmlinuz"), kernel).unwrap();
    std::fs::write(directory.join("initramfs.img"), initramfs).unwrap();
    std::fs::write(directory.join("undionly.kpxe"), "loader").unwrap();
    std::fs::write(directory.join("limosa.efi.head"), head).unwrap();
}

#[test]
fn a_network_card_gets_an_address_and_all_it_boots_and_no_key() {
    assert!(
        rustix::process::geteuid().is_root(),
        "these tests need root"
    );
    let path = std::env::temp_dir().join(format!("limosa-netboot-{}", std::process::id()));
    std::fs::create_dir(&path).unwrap();
    let directory = Directory(path);
    write_image(&directory.0);
    std::fs::write(directory.0.join("client.py"), CLIENT).unwrap();
    // The server lives in the outer namespace and ends with the shell, the client in one within.
    let script = "set -e
        unshare --net sleep 60 & sleeper=$!
        until [ \"$(readlink /proc/$sleeper/ns/net)\" != \"$(readlink /proc/self/ns/net)\" ]; do sleep 0.05; done
        ip link add eth0 type veth peer name card netns $sleeper
        ip link set eth0 up
        nsenter --net=/proc/$sleeper/ns/net ip link set card up
        setpriv --pdeathsig KILL \"$1\" netboot --dhcp --image \"$2\" --interface eth0 &
        server=$!
        timeout 60 nsenter --net=/proc/$sleeper/ns/net python3 \"$2/client.py\" || code=$?
        kill $server $sleeper
        exit ${code:-0}";
    let output = Command::new("unshare")
        .args(["--net", "sh", "-c", script, "sh", LIMOSA])
        .arg(&directory.0)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{log}");
    for line in [
        "offer 10.76.1.20 10.76.1.1 undionly.kpxe",
        "confirmed 5 10.76.1.20",
        "loader b'loader'",
        "kernel 100000 b'kkkk'",
        "secret no such file",
        "initramfs 5000",
        "refused 404",
        "nonsense b'HTTP/1.1 431'",
    ] {
        assert!(
            said.lines().any(|said| said == line),
            "{line:?} is not in:\n{said}\n{log}"
        );
    }
    let script = said
        .lines()
        .find(|line| line.starts_with("script "))
        .unwrap_or_default();
    assert!(
        script.contains("kernel vmlinuz") && !script.contains("added"),
        "{script}"
    );
    assert!(
        log.contains("52:54:00:00:00:aa asks what to boot: undionly.kpxe"),
        "{log}"
    );
}
