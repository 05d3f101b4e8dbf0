//! TFTP, the side that sends files (pure): RFC 1350, with the options of RFC 2347 to 2349 (`blksize`,
//! `timeout`, `tsize`) and of RFC 7440 (`windowsize`).
//!
//! ```text
//!            options asked for               acknowledged, more to come
//! (request) ------------------> Options ---+     +--------+
//!     |                                    v     v        |
//!     +------------------------------> Sending -----------+
//!                                          | last block acknowledged
//!                                          v
//!                                        ended
//! ```
//!
//! What is not acknowledged in time is sent again, [`RETRIES_MAX`] times.

use std::time::Duration;

/// Longest request that is read, in bytes (RFC 2347).
pub const REQUEST_BYTES_MAX: usize = 512;

const READ: u16 = 1;
const WRITE: u16 = 2;
const DATA: u16 = 3;
const ACKNOWLEDGEMENT: u16 = 4;
const ERROR: u16 = 5;
const OPTIONS: u16 = 6;

const BLOCK_BYTES_DEFAULT: u16 = 512;
const BLOCK_BYTES_MIN: u16 = 8;
/// An Ethernet frame without the headers of IP, UDP and TFTP: larger ones would be sent in fragments.
const BLOCK_BYTES_MAX: u16 = 1500 - 20 - 8 - 4;
/// Most blocks on the way at once; firmware has little room for them.
const WINDOW_MAX: u16 = 16;
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);
const RETRIES_MAX: u32 = 6;

/// Why a request is refused (RFC 1350, appendix).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such file.
    NotFound,
    /// Files here are read only.
    ReadOnly,
    /// This is no request, or one that makes no sense.
    Malformed,
    /// There are too many transfers already.
    Busy,
}

impl Refusal {
    /// The packet that says so.
    #[must_use]
    pub fn packet(self) -> Vec<u8> {
        let (code, text): (u16, &[u8]) = match self {
            Refusal::Busy => (0, b"too many transfers"),
            Refusal::NotFound => (1, b"no such file"),
            Refusal::ReadOnly => (2, b"read only"),
            Refusal::Malformed => (4, b"no TFTP request"),
        };
        let mut packet = ERROR.to_be_bytes().to_vec();
        packet.extend(code.to_be_bytes());
        packet.extend_from_slice(text);
        packet.push(0);
        packet
    }
}

/// A request to read a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// The file's name without a leading slash.
    pub name: String,
    block_bytes: Option<u16>,
    window: Option<u16>,
    timeout_seconds: Option<u8>,
    wants_size: bool,
}

/// Reads the first packet of a transfer.
///
/// # Errors
/// Why it is refused.
pub fn parse(packet: &[u8]) -> Result<ReadRequest, Refusal> {
    if packet.len() > REQUEST_BYTES_MAX {
        return Err(Refusal::Malformed);
    }
    let (kind, fields) = packet.split_at_checked(2).ok_or(Refusal::Malformed)?;
    match u16::from_be_bytes([kind[0], kind[1]]) {
        READ => {}
        WRITE => return Err(Refusal::ReadOnly),
        _ => return Err(Refusal::Malformed),
    }
    // Each field ends in a zero byte, so there is nothing behind the last one.
    let fields = fields.strip_suffix(&[0]).ok_or(Refusal::Malformed)?;
    let mut fields = fields.split(|&byte| byte == 0).map(std::str::from_utf8);
    let mut field = || fields.next().and_then(Result::ok);
    let (name, mode) = (field(), field());
    let (Some(name), Some(mode)) = (name, mode) else {
        return Err(Refusal::Malformed);
    };
    // Some firmware writes "octet" in capitals, and asks for text without meaning it is not known of any.
    if !mode.eq_ignore_ascii_case("octet") {
        return Err(Refusal::Malformed);
    }
    let mut request = ReadRequest {
        name: name.trim_start_matches('/').to_owned(),
        block_bytes: None,
        window: None,
        timeout_seconds: None,
        wants_size: false,
    };
    while let (Some(option), Some(value)) = (field(), field()) {
        request.set(option, value);
    }
    Ok(request)
}

impl ReadRequest {
    /// Takes an option; unknown ones and values without meaning are passed over (RFC 2347).
    fn set(&mut self, option: &str, value: &str) {
        let number = value.parse::<u16>().ok();
        match option.to_ascii_lowercase().as_str() {
            "blksize" => {
                self.block_bytes = number
                    .filter(|&bytes| bytes >= BLOCK_BYTES_MIN)
                    .map(|bytes| bytes.min(BLOCK_BYTES_MAX));
            }
            "windowsize" => {
                self.window = number
                    .filter(|&blocks| blocks > 0)
                    .map(|n| n.min(WINDOW_MAX));
            }
            "timeout" => {
                self.timeout_seconds = value.parse().ok().filter(|&seconds| seconds > 0);
            }
            "tsize" => self.wants_size = true,
            _ => {}
        }
    }

    /// The packet that confirms the options, if there are any to confirm.
    fn confirmation(&self, size_bytes: u64) -> Option<Vec<u8>> {
        let mut packet = OPTIONS.to_be_bytes().to_vec();
        let mut add = |name: &str, value: u64| {
            packet.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
        };
        if let Some(bytes) = self.block_bytes {
            add("blksize", bytes.into());
        }
        if let Some(blocks) = self.window {
            add("windowsize", blocks.into());
        }
        if let Some(seconds) = self.timeout_seconds {
            add("timeout", seconds.into());
        }
        if self.wants_size {
            add("tsize", size_bytes);
        }
        (packet.len() > 2).then_some(packet)
    }
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until something comes or is due.
    Wait,
    /// Send this packet.
    Packet(Vec<u8>),
    /// Send these blocks, numbered from 1, each by [`Transfer::block`].
    Blocks(std::ops::RangeInclusive<u64>),
    /// It is over: the client has everything.
    Done,
    /// It is over: the client gave up, or is gone.
    Failed,
}

/// One file on its way to one client.
#[derive(Clone, Debug)]
pub struct Transfer {
    size_bytes: u64,
    block_bytes: u64,
    window: u64,
    timeout: Duration,
    /// Still to be acknowledged by block 0.
    options: Option<Vec<u8>>,
    /// Blocks that the client has.
    acknowledged: u64,
    retries: u32,
    due: Duration,
}

impl Transfer {
    /// Begins to send a file of this size.
    #[must_use]
    pub fn start(request: &ReadRequest, size_bytes: u64, now: Duration) -> (Transfer, Step) {
        let timeout = request.timeout_seconds.map(u64::from);
        let mut transfer = Transfer {
            size_bytes,
            block_bytes: request.block_bytes.unwrap_or(BLOCK_BYTES_DEFAULT).into(),
            window: request.window.unwrap_or(1).into(),
            timeout: timeout.map_or(TIMEOUT_DEFAULT, Duration::from_secs),
            options: request.confirmation(size_bytes),
            acknowledged: 0,
            retries: 0,
            due: now,
        };
        let step = transfer.send(now);
        (transfer, step)
    }

    /// When [`Transfer::turn`] must be called if nothing comes before.
    #[must_use]
    pub fn due(&self) -> Duration {
        self.due
    }

    /// Blocks of the file: one more than fit, so that the last is always shorter than the others.
    fn blocks(&self) -> u64 {
        self.size_bytes / self.block_bytes + 1
    }

    fn send(&mut self, now: Duration) -> Step {
        self.due = now + self.timeout;
        match &self.options {
            Some(packet) => Step::Packet(packet.clone()),
            None => {
                let last = (self.acknowledged + self.window).min(self.blocks());
                Step::Blocks(self.acknowledged + 1..=last)
            }
        }
    }

    /// A packet came from the client.
    pub fn packet(&mut self, packet: &[u8], now: Duration) -> Step {
        let Some(&[kind_high, kind_low, high, low]) = packet.first_chunk() else {
            return Step::Wait;
        };
        match u16::from_be_bytes([kind_high, kind_low]) {
            ACKNOWLEDGEMENT => self.acknowledge(u16::from_be_bytes([high, low]), now),
            ERROR => Step::Failed,
            _ => Step::Wait,
        }
    }

    fn acknowledge(&mut self, number: u16, now: Duration) -> Step {
        if self.options.is_some() {
            if number != 0 {
                return Step::Wait;
            }
            self.options = None;
            self.retries = 0;
            return self.send(now);
        }
        // Block numbers have 16 bits and begin anew at 0 in long files. Only what is on the way can be
        // acknowledged: an old number must not start the same blocks a second time (RFC 1123, 4.2.3.1).
        let ahead = u64::from(number.wrapping_sub(self.acknowledged as u16));
        if ahead == 0 || ahead > self.window || self.acknowledged + ahead > self.blocks() {
            return Step::Wait;
        }
        self.acknowledged += ahead;
        self.retries = 0;
        if self.acknowledged == self.blocks() {
            return Step::Done;
        }
        self.send(now)
    }

    /// Time has passed.
    pub fn turn(&mut self, now: Duration) -> Step {
        if now < self.due {
            return Step::Wait;
        }
        if self.retries == RETRIES_MAX {
            return Step::Failed;
        }
        self.retries += 1;
        self.send(now)
    }

    /// The header of block `number`, and the part of the file that goes behind it.
    #[must_use]
    pub fn block(&self, number: u64) -> ([u8; 4], std::ops::Range<u64>) {
        let begin = (number.saturating_sub(1) * self.block_bytes).min(self.size_bytes);
        let end = (begin + self.block_bytes).min(self.size_bytes);
        let [kind_high, kind_low] = DATA.to_be_bytes();
        let [high, low] = (number as u16).to_be_bytes();
        ([kind_high, kind_low, high, low], begin..end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn request(options: &str) -> ReadRequest {
        parse(format!("\0\u{1}/limosa.efi\0octet\0{options}").as_bytes()).unwrap()
    }

    fn acknowledgement(number: u16) -> Vec<u8> {
        [ACKNOWLEDGEMENT.to_be_bytes(), number.to_be_bytes()].concat()
    }

    #[test]
    fn a_request_is_read_with_its_options() {
        let request = request("tsize\x000\0blksize\x001468\0WINDOWSIZE\x004\0new\0x\0");
        assert_eq!(request.name, "limosa.efi");
        assert_eq!((request.block_bytes, request.window), (Some(1468), Some(4)));
        let confirmed = request.confirmation(7).unwrap();
        assert_eq!(
            &confirmed[2..],
            b"blksize\x001468\0windowsize\x004\0tsize\x007\0"
        );
    }

    #[test]
    fn options_are_bounded_and_senseless_ones_are_passed_over() {
        let bounded = request("blksize\x0065464\0windowsize\x0060000\0");
        assert_eq!(bounded.block_bytes, Some(BLOCK_BYTES_MAX));
        assert_eq!(bounded.window, Some(WINDOW_MAX));
        let senseless = request("blksize\x007\0windowsize\x000\0timeout\x00256\0blksize\0");
        assert_eq!(senseless.confirmation(1), None);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        assert_eq!(parse(b"\0\x02name\0octet\0"), Err(Refusal::ReadOnly));
        for packet in [
            &b""[..],
            b"\0",
            b"\0\x01",
            b"\0\x01name",
            b"\0\x01name\0",
            b"\0\x01name\0netascii\0",
            b"\0\x01\xff\0octet\0",
            b"\0\x04\0\0",
            &[1; REQUEST_BYTES_MAX + 1],
        ] {
            assert_eq!(parse(packet), Err(Refusal::Malformed), "{packet:?}");
        }
    }

    #[test]
    fn without_options_blocks_of_512_bytes_go_one_by_one() {
        let (mut transfer, step) = Transfer::start(&request(""), 1024, NOW);
        assert_eq!(step, Step::Blocks(1..=1));
        assert_eq!(
            transfer.packet(&acknowledgement(1), NOW),
            Step::Blocks(2..=2)
        );
        assert_eq!(transfer.block(2), ([0, 3, 0, 2], 512..1024));
        // The last block is empty, so that the client knows the end.
        assert_eq!(
            transfer.packet(&acknowledgement(2), NOW),
            Step::Blocks(3..=3)
        );
        assert_eq!(transfer.block(3), ([0, 3, 0, 3], 1024..1024));
        assert_eq!(transfer.packet(&acknowledgement(3), NOW), Step::Done);
    }

    #[test]
    fn a_window_goes_on_behind_the_last_block_that_came() {
        let wanted = request("windowsize\x004\0");
        let (mut transfer, step) = Transfer::start(&wanted, 512 * 10, NOW);
        assert!(matches!(step, Step::Packet(_)));
        assert_eq!(
            transfer.packet(&acknowledgement(0), NOW),
            Step::Blocks(1..=4)
        );
        assert_eq!(
            transfer.packet(&acknowledgement(2), NOW),
            Step::Blocks(3..=6)
        );
        assert_eq!(
            transfer.packet(&acknowledgement(1), NOW),
            Step::Wait,
            "an old one"
        );
        assert_eq!(
            transfer.packet(&acknowledgement(6), NOW),
            Step::Blocks(7..=10)
        );
    }

    #[test]
    fn what_is_lost_is_sent_again_and_who_is_gone_is_given_up() {
        let (mut transfer, first) = Transfer::start(&request(""), 5, NOW);
        let mut now = NOW;
        for _ in 0..RETRIES_MAX {
            assert_eq!(transfer.turn(now), Step::Wait);
            now = transfer.due();
            assert_eq!(transfer.turn(now), first);
        }
        now = transfer.due();
        assert_eq!(transfer.turn(now), Step::Failed);
        let (mut transfer, _) = Transfer::start(&request(""), 5, NOW);
        assert_eq!(transfer.packet(b"\0\x05\0\0no\0", NOW), Step::Failed);
    }

    proptest! {
        #[test]
        fn a_client_that_loses_packets_gets_the_whole_file(
            size in 0_u64..200_000,
            block in 8_u16..1468,
            window in 1_u16..20,
            lost in proptest::collection::vec(0_u8..10, 0..200),
        ) {
            let options = format!("blksize\0{block}\0windowsize\0{window}\0");
            let (mut transfer, mut step) = Transfer::start(&request(&options), size, NOW);
            let (mut now, mut received, mut next) = (NOW, 0, 1);
            let mut lost = lost.into_iter().chain(std::iter::repeat(1));
            loop {
                step = match step {
                    Step::Done => break,
                    Step::Failed => {
                        // Six losses in a row may happen with this weather, and end it honestly.
                        return Ok(());
                    }
                    Step::Wait => {
                        now = transfer.due();
                        transfer.turn(now)
                    }
                    Step::Packet(_) => transfer.packet(&acknowledgement(0), now),
                    Step::Blocks(blocks) => {
                        prop_assert!(*blocks.end() - *blocks.start() < u64::from(WINDOW_MAX));
                        for number in blocks {
                            let (_, part) = transfer.block(number);
                            if lost.next() != Some(0) && number == next {
                                prop_assert_eq!(part.start, received);
                                received = part.end;
                                next += 1;
                            }
                        }
                        transfer.packet(&acknowledgement((next - 1) as u16), now)
                    }
                };
            }
            prop_assert_eq!(received, size);
        }

        #[test]
        fn no_packet_makes_it_panic(first: Vec<u8>, then: Vec<Vec<u8>>) {
            let _ = parse(&first);
            let (mut transfer, _) = Transfer::start(&request("blksize\x008\0"), 100, NOW);
            for packet in then {
                let _ = transfer.packet(&packet, NOW);
            }
        }
    }
}
