//! The operator's side of one exchange: connects to a newcomer, and sends it the key if it knows the code.

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::time::Duration;

use smol::future::FutureExt;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, Timer};

use super::asker::random;
use super::code::Code;
use super::exchange::{
    ANSWER_BYTES, Admitter, Admitting, CONFIRMATION_BYTES, ExchangeError, RECEIPT_BYTES,
};
use super::search::Asker;
use crate::secure::key::{ClusterKey, RandomError};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the exchange may then take.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a newcomer was not admitted.
#[derive(Debug)]
pub enum OperatorError {
    /// There is no connection to it.
    Unreachable(io::Error),
    /// The connection broke, or the newcomer did not go on in time, before it has heard anything of the code.
    Broken(io::Error),
    /// The code was tried, and the newcomer did not prove that it shows it.
    NotProven(ExchangeError),
    /// It has been sent the key, and it is not known whether it came.
    Unanswered(io::Error),
    /// No randomness, so nothing was sent.
    Random(RandomError),
}

impl OperatorError {
    /// Whether this was a guess for who only pretends to ask.
    #[must_use]
    pub fn was_try(&self) -> bool {
        matches!(self, OperatorError::NotProven(_))
    }
}

impl fmt::Display for OperatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OperatorError::Unreachable(error) => write!(f, "it cannot be reached: {error}"),
            OperatorError::Broken(error) => write!(f, "the connection to it broke: {error}"),
            OperatorError::NotProven(error) => error.fmt(f),
            OperatorError::Unanswered(error) => {
                write!(
                    f,
                    "the key was sent, and it did not say that it has it: {error}"
                )
            }
            OperatorError::Random(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OperatorError {}

/// Admits `asker` if it knows the code, and returns its name.
pub async fn admit(
    asker: &Asker,
    code: Code,
    admitter: &Admitter,
    key: &ClusterKey,
) -> Result<String, OperatorError> {
    let connecting = within(CONNECT_TIMEOUT, Async::<TcpStream>::connect(asker.address));
    let mut stream = connecting.await.map_err(OperatorError::Unreachable)?;
    let broken = OperatorError::Broken;
    let random = random().map_err(OperatorError::Random)?;
    let (admitting, opening) = Admitting::start(code, asker.answer.request, admitter, &random);
    let mut answer = [0; ANSWER_BYTES];
    let answering = async {
        stream.get_ref().set_nodelay(true)?;
        stream.write_all(&opening).await?;
        stream.read_exact(&mut answer).await
    };
    within(EXCHANGE_TIMEOUT, answering).await.map_err(broken)?;
    let not_proven = OperatorError::NotProven;
    let (confirming, confirmation) = admitting.confirm(&answer).map_err(not_proven)?;
    let mut theirs = [0; CONFIRMATION_BYTES];
    let confirmed = async {
        stream.write_all(&confirmation).await?;
        stream.read_exact(&mut theirs).await
    };
    // A newcomer that shows another code says nothing more.
    let confirmed = within(EXCHANGE_TIMEOUT, confirmed).await;
    confirmed.map_err(|_| not_proven(ExchangeError::WrongCode))?;
    let (sent, record) = confirming.send_key(&theirs, key).map_err(not_proven)?;
    let mut receipt = [0; RECEIPT_BYTES];
    let sending = async {
        stream.write_all(&record).await?;
        stream.read_exact(&mut receipt).await
    };
    let unanswered = OperatorError::Unanswered;
    within(EXCHANGE_TIMEOUT, sending)
        .await
        .map_err(unanswered)?;
    let name = sent.name.clone();
    let sound = sent.finish(&receipt);
    sound.map_err(|error| unanswered(io::Error::other(error)))?;
    Ok(name)
}

async fn within<T>(time: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = async {
        Timer::after(time).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    work.or(late).await
}
