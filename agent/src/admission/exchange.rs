//! The exchange over one connection: both sides prove that they know the code, and the cluster key is sent.
//!
//! Pure: messages of fixed length go in and come out, so nobody can make the other side allocate anything.
//!
//! 1. operator's side, [`Admitting::start`]: [`Opening`], [`OPENING_BYTES`];
//! 2. newcomer, [`Asking::answer`]: its share and its name, [`ANSWER_BYTES`];
//! 3. operator's side, [`Admitting::confirm`]: that it knows the code, [`CONFIRMATION_BYTES`];
//! 4. newcomer, [`Asking::check`]: that it does, too, [`CONFIRMATION_BYTES`];
//! 5. operator's side, [`Confirming::send_key`]: the key's token as a record, [`KEY_RECORD_BYTES`];
//! 6. newcomer, [`Proven::take_key`]: a record that says whether it keeps it, [`RECEIPT_BYTES`].
//!
//! The operator's side proves itself first: a connection that breaks before then is no try, so that nobody
//! can use up a code without having guessed one.

use std::fmt;

use blake2::Blake2sMac256;
use blake2::digest::Mac;

use super::code::Code;
use crate::limits::NODE_NAME_LENGTH_MAX;
use crate::secure::key::{ClusterId, ClusterKey, mac};
use crate::secure::pake::{self, Agreement, Half, RANDOM_BYTES, SHARE_BYTES, Said};
use crate::secure::record::{LENGTH_BYTES, Opener, Sealer, TAG_BYTES};
use crate::wire::hello::is_node_name;

/// Names a request: drawn anew with each code.
pub type RequestId = [u8; 16];

/// Bytes of the first message.
pub const OPENING_BYTES: usize = 8 + 16 + SHARE_BYTES + 5 + NAME_BYTES;

/// Bytes of the answer to it.
pub const ANSWER_BYTES: usize = SHARE_BYTES + NAME_BYTES;

/// Bytes of a confirmation.
pub const CONFIRMATION_BYTES: usize = 32;

/// Bytes of the record that carries the key.
pub const KEY_RECORD_BYTES: usize = LENGTH_BYTES + TOKEN_BYTES + TAG_BYTES;

/// Bytes of the record that says that it was taken.
pub const RECEIPT_BYTES: usize = LENGTH_BYTES + RECEIPT.len() + TAG_BYTES;

/// Bytes of a name with its length in front.
pub(super) const NAME_BYTES: usize = 1 + NODE_NAME_LENGTH_MAX;

/// Bytes of a cluster key's token.
const TOKEN_BYTES: usize = 76;

/// Begins the first message; the last character is the version.
const MAGIC: [u8; 8] = *b"limosaA1";

const CHANNEL: &[u8] = b"limosa admission 1";
const RECEIPT: [u8; 4] = *b"kept";

/// Why nobody is admitted. Nothing was given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeError {
    /// The other side does not speak this protocol, or not in this version.
    Strange,
    /// It is not about the code that is shown now.
    Outdated,
    /// The other side has another code.
    WrongCode,
    /// What follows is not the other side's, or not what it must be.
    Unsound,
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ExchangeError::Strange => "what is there does not ask to be admitted in this version",
            ExchangeError::Outdated => "the code has changed meanwhile",
            ExchangeError::WrongCode => "the code is not the one shown there",
            ExchangeError::Unsound => "what came was changed on its way",
        })
    }
}

impl std::error::Error for ExchangeError {}

/// Who admits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitter {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its name.
    pub name: String,
}

/// The first message, read.
pub struct Opening {
    /// The request that is meant.
    pub request: RequestId,
    share: [u8; SHARE_BYTES],
    admitter: Admitter,
    data: [u8; 5 + NAME_BYTES],
}

impl Opening {
    /// Reads the first message.
    pub fn parse(bytes: &[u8; OPENING_BYTES]) -> Result<Opening, ExchangeError> {
        let data: [u8; 5 + NAME_BYTES] = part(bytes, 56);
        let name = name_from(&data[5..]).ok_or(ExchangeError::Strange)?;
        if bytes[..8] != MAGIC {
            return Err(ExchangeError::Strange);
        }
        let cluster = ClusterId(part(&data, 0));
        Ok(Opening {
            request: part(bytes, 8),
            share: part(bytes, 24),
            admitter: Admitter { cluster, name },
            data,
        })
    }
}

/// The keys that come of a run.
struct Secrets {
    confirm: [u8; 32],
    to_asking: [u8; 32],
    to_admitting: [u8; 32],
}

/// Who confirms that it knows the code.
#[derive(Clone, Copy)]
enum Side {
    Admitting,
    Asking,
}

impl Side {
    fn words(self) -> &'static [u8] {
        match self {
            Side::Admitting => b"the admitting side knows the code",
            Side::Asking => b"the asking side knows the code",
        }
    }
}

impl Secrets {
    fn new(key: &[u8; pake::KEY_BYTES]) -> Secrets {
        let (front, back): ([u8; 32], [u8; 32]) = (part(key, 0), part(key, 32));
        let derive = |purpose: &str| {
            let half = mac(&front, purpose.as_bytes());
            mac(&half, &back)
        };
        Secrets {
            confirm: derive("limosa admission: confirmation"),
            to_asking: derive("limosa admission: to the asking side"),
            to_admitting: derive("limosa admission: to the admitting side"),
        }
    }

    fn confirmation(&self, side: Side) -> [u8; CONFIRMATION_BYTES] {
        mac(&self.confirm, side.words())
    }

    /// In constant time.
    fn check(
        &self,
        side: Side,
        confirmation: &[u8; CONFIRMATION_BYTES],
    ) -> Result<(), ExchangeError> {
        <Blake2sMac256 as Mac>::new((&self.confirm).into())
            .chain_update(side.words())
            .verify_slice(confirmation)
            .map_err(|_| ExchangeError::WrongCode)
    }
}

/// The operator's side, which has opened the exchange.
pub struct Admitting {
    half: Half,
    request: RequestId,
    data: [u8; 5 + NAME_BYTES],
}

/// The operator's side, which has proven itself.
pub struct Confirming {
    secrets: Secrets,
    name: String,
}

/// The operator's side, which has sent the key.
pub struct Sent {
    opener: Opener,
    /// The name of the newcomer, which knows the code.
    pub name: String,
}

impl Admitting {
    /// Begins; `random` must be new each time.
    #[must_use]
    pub fn start(
        code: Code,
        request: RequestId,
        admitter: &Admitter,
        random: &[u8; RANDOM_BYTES],
    ) -> (Admitting, [u8; OPENING_BYTES]) {
        let half = Half::new(&agreement(&code.secret(), &request), random);
        let mut data = [0; 5 + NAME_BYTES];
        data[..5].copy_from_slice(&admitter.cluster.0);
        put_name(&mut data[5..], &admitter.name);
        let mut opening = [0; OPENING_BYTES];
        opening[..8].copy_from_slice(&MAGIC);
        opening[8..24].copy_from_slice(&request);
        opening[24..56].copy_from_slice(half.share());
        opening[56..].copy_from_slice(&data);
        let admitting = Admitting {
            half,
            request,
            data,
        };
        (admitting, opening)
    }

    /// Takes the answer; what comes of it shows the newcomer, and only it, that the code is known here.
    pub fn confirm(
        self,
        answer: &[u8; ANSWER_BYTES],
    ) -> Result<(Confirming, [u8; CONFIRMATION_BYTES]), ExchangeError> {
        let share = part(answer, 0);
        let name = name_from(&answer[SHARE_BYTES..]).ok_or(ExchangeError::Strange)?;
        let ours = Said {
            share: self.half.share(),
            data: &self.data,
        };
        let theirs = Said {
            share: &share,
            data: &answer[SHARE_BYTES..],
        };
        let key = self.half.key(&self.request, &share, (ours, theirs));
        let secrets = Secrets::new(&key.ok_or(ExchangeError::Unsound)?);
        let confirmation = secrets.confirmation(Side::Admitting);
        Ok((Confirming { secrets, name }, confirmation))
    }
}

impl Confirming {
    /// Checks that the newcomer knows the code; only then is the key sealed for it.
    pub fn send_key(
        self,
        confirmation: &[u8; CONFIRMATION_BYTES],
        key: &ClusterKey,
    ) -> Result<(Sent, [u8; KEY_RECORD_BYTES]), ExchangeError> {
        self.secrets.check(Side::Asking, confirmation)?;
        let mut record = Vec::with_capacity(KEY_RECORD_BYTES);
        Sealer::new(&self.secrets.to_asking, 0)
            .seal(key.to_string().as_bytes(), &mut record)
            .map_err(|_| ExchangeError::Unsound)?;
        let record = record.try_into().map_err(|_| ExchangeError::Unsound)?;
        let sent = Sent {
            opener: Opener::new(&self.secrets.to_admitting, 0),
            name: self.name,
        };
        Ok((sent, record))
    }
}

impl Sent {
    /// Takes the newcomer's word that it keeps the key.
    pub fn finish(mut self, receipt: &[u8; RECEIPT_BYTES]) -> Result<(), ExchangeError> {
        let mut body: [u8; RECEIPT_BYTES - LENGTH_BYTES] = part(receipt, LENGTH_BYTES);
        match self.opener.open(&mut body) {
            Ok(text) if *text == RECEIPT => Ok(()),
            _ => Err(ExchangeError::Unsound),
        }
    }
}

/// The newcomer's side, which has answered.
pub struct Asking {
    /// The request that this is about.
    pub(super) request: RequestId,
    secrets: Secrets,
    admitter: Admitter,
}

/// The newcomer's side after both have proven themselves.
pub struct Proven {
    secrets: Secrets,
    admitter: Admitter,
}

/// What a newcomer has got.
pub struct Admitted {
    /// The cluster key.
    pub key: ClusterKey,
    /// From whom.
    pub admitter: Admitter,
    /// What tells the other side that it is kept.
    pub receipt: [u8; RECEIPT_BYTES],
}

impl Asking {
    /// Answers an opening that is about the code that is shown now; `random` must be new each time.
    pub fn answer(
        code: Code,
        opening: Opening,
        name: &str,
        random: &[u8; RANDOM_BYTES],
    ) -> Result<(Asking, [u8; ANSWER_BYTES]), ExchangeError> {
        let half = Half::new(&agreement(&code.secret(), &opening.request), random);
        let mut answer = [0; ANSWER_BYTES];
        answer[..SHARE_BYTES].copy_from_slice(half.share());
        put_name(&mut answer[SHARE_BYTES..], name);
        let theirs = Said {
            share: &opening.share,
            data: &opening.data,
        };
        let ours = Said {
            share: half.share(),
            data: &answer[SHARE_BYTES..],
        };
        let key = half.key(&opening.request, &opening.share, (theirs, ours));
        let asking = Asking {
            request: opening.request,
            secrets: Secrets::new(&key.ok_or(ExchangeError::Unsound)?),
            admitter: opening.admitter,
        };
        Ok((asking, answer))
    }

    /// Checks that the other side knows the code. This is a try: the code is good for no other.
    pub(super) fn check(
        self,
        confirmation: &[u8; CONFIRMATION_BYTES],
    ) -> Result<(Proven, [u8; CONFIRMATION_BYTES]), ExchangeError> {
        self.secrets.check(Side::Admitting, confirmation)?;
        let ours = self.secrets.confirmation(Side::Asking);
        let proven = Proven {
            secrets: self.secrets,
            admitter: self.admitter,
        };
        Ok((proven, ours))
    }
}

impl Proven {
    /// Takes the key.
    pub fn take_key(self, record: &[u8; KEY_RECORD_BYTES]) -> Result<Admitted, ExchangeError> {
        let mut body: [u8; KEY_RECORD_BYTES - LENGTH_BYTES] = part(record, LENGTH_BYTES);
        let token = Opener::new(&self.secrets.to_asking, 0)
            .open(&mut body)
            .ok()
            .and_then(|token| std::str::from_utf8(token).ok())
            .and_then(|token| ClusterKey::parse(token).ok());
        let key = token.filter(|key| key.cluster() == self.admitter.cluster);
        let key = key.ok_or(ExchangeError::Unsound)?;
        let mut receipt = Vec::with_capacity(RECEIPT_BYTES);
        Sealer::new(&self.secrets.to_admitting, 0)
            .seal(&RECEIPT, &mut receipt)
            .map_err(|_| ExchangeError::Unsound)?;
        Ok(Admitted {
            key,
            admitter: self.admitter,
            receipt: receipt.try_into().map_err(|_| ExchangeError::Unsound)?,
        })
    }
}

fn agreement<'a>(code: &'a [u8; 4], request: &'a RequestId) -> Agreement<'a> {
    Agreement {
        code,
        channel: CHANNEL,
        session: request,
    }
}

/// `N` bytes of a message from `start` on; the message is long enough by its type.
pub(super) fn part<const N: usize>(bytes: &[u8], start: usize) -> [u8; N] {
    std::array::from_fn(|place| bytes[start + place])
}

/// Puts a name and its length into a field; one that is too long is cut.
pub(super) fn put_name(field: &mut [u8], name: &str) {
    let fits = |&end: &usize| name.is_char_boundary(end);
    let end = (0..=NODE_NAME_LENGTH_MAX.min(name.len()))
        .rfind(fits)
        .unwrap_or(0);
    field[0] = end as u8;
    field[1..=end].copy_from_slice(&name.as_bytes()[..end]);
}

/// The name in such a field, if a node may be called so.
pub(super) fn name_from(field: &[u8]) -> Option<String> {
    let (&length, text) = field.split_first()?;
    let name = std::str::from_utf8(text.get(..length.into())?).ok()?;
    is_node_name(name).then(|| name.to_owned())
}

#[cfg(test)]
mod tests;
