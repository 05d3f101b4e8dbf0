//! Every bound in one table: lengths, counts and queues that untrusted input could otherwise grow.

/// Longest node name, in bytes of UTF-8.
pub const NODE_NAME_LENGTH_MAX: usize = 64;

/// Longest CBOR message on a unix socket (control requests and the supervisor link), in bytes.
pub const LOCAL_MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Most threads of a process that may migrate.
pub const THREADS_MAX: usize = 1024;

/// Most mappings of a process that may migrate (the kernel's own default is 65,530).
pub const MAPPINGS_MAX: usize = 65_530;
