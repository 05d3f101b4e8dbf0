//! HTTP/1.1 as far as a boot loader speaks it: one GET or HEAD a connection (pure; RFC 9112).

/// Longest head of a request that is read, in bytes.
pub const HEAD_BYTES_MAX: usize = 2048;

/// What has come of a request so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The head is not complete.
    Incomplete,
    /// A file is wanted.
    Get {
        /// Its name without the leading slash.
        name: String,
        /// Whether its contents are wanted, too.
        with_body: bool,
    },
    /// It is refused with this status.
    Refused(Status),
}

/// A status of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 200.
    Ok,
    /// 400.
    BadRequest,
    /// 404.
    NotFound,
    /// 405.
    MethodNotAllowed,
    /// 431.
    HeadTooLarge,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::BadRequest => "400 Bad Request",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::HeadTooLarge => "431 Request Header Fields Too Large",
        }
    }
}

/// Reads the head of a request.
#[must_use]
pub fn parse(bytes: &[u8]) -> Request {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let Some(end) = end.filter(|end| *end <= HEAD_BYTES_MAX) else {
        return if bytes.len() > HEAD_BYTES_MAX {
            Request::Refused(Status::HeadTooLarge)
        } else {
            Request::Incomplete
        };
    };
    let line = bytes[..end].split(|&byte| byte == b'\r').next();
    let line = line.and_then(|line| std::str::from_utf8(line).ok());
    let mut words = line.unwrap_or_default().split(' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, words.next())
    else {
        return Request::Refused(Status::BadRequest);
    };
    let name = target.strip_prefix('/');
    let (Some(name), true) = (name, version.starts_with("HTTP/1.")) else {
        return Request::Refused(Status::BadRequest);
    };
    let with_body = match method {
        "GET" => true,
        "HEAD" => false,
        _ => return Request::Refused(Status::MethodNotAllowed),
    };
    Request::Get {
        // A query is of no meaning here.
        name: name.split('?').next().unwrap_or_default().to_owned(),
        with_body,
    }
}

/// The head of an answer whose body has this length.
#[must_use]
pub fn head(status: Status, body_bytes: u64) -> String {
    format!(
        "HTTP/1.1 {}\r\nContent-Length: {body_bytes}\r\nContent-Type: application/octet-stream\r\n\
         Connection: close\r\n\r\n",
        status.line()
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_loaders_request_is_understood() {
        let get = b"GET /vmlinuz?x HTTP/1.1\r\nHost: 10.0.0.1:4461\r\nUser-Agent: iPXE\r\n\r\n";
        let name = "vmlinuz".to_owned();
        assert_eq!(
            parse(get),
            Request::Get {
                name,
                with_body: true
            }
        );
        let name = "limosa.efi".to_owned();
        let head = parse(b"HEAD /limosa.efi HTTP/1.1\r\n\r\n");
        assert_eq!(
            head,
            Request::Get {
                name,
                with_body: false
            }
        );
    }

    #[test]
    fn what_is_not_whole_is_waited_for_up_to_a_length() {
        let whole = b"GET /a HTTP/1.0\r\n\r\n";
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), Request::Incomplete);
        }
        let refused = parse(&[b'x'; HEAD_BYTES_MAX + 1]);
        assert_eq!(refused, Request::Refused(Status::HeadTooLarge));
    }

    #[test]
    fn other_requests_are_refused_in_words() {
        let status = |text: &str| parse(format!("{text}\r\n\r\n").as_bytes());
        assert_eq!(
            status("POST / HTTP/1.1"),
            Request::Refused(Status::MethodNotAllowed)
        );
        for bad in [
            "",
            "GET",
            "GET /",
            "GET a HTTP/1.1",
            "GET / HTTP/2",
            "GET / x HTTP/1.1",
        ] {
            assert_eq!(status(bad), Request::Refused(Status::BadRequest), "{bad}");
        }
        assert!(head(Status::NotFound, 0).starts_with("HTTP/1.1 404 Not Found\r\n"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_text_with_an_end_makes_it_panic(text: String) {
            prop_assert_ne!(parse(format!("{text}\r\n\r\n").as_bytes()), Request::Incomplete);
        }
    }
}
