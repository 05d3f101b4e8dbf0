//! The lab port: a host program watches a virtual node and runs commands on it.
//!
//! A virtual machine that has a virtio-serial port named `limosa.control` is told there what `/init`
//! does (events); when `limosa.lab` is on the kernel command line it may also send requests. **Whoever
//! holds the host's end of the port is then root on the node.** It is for labs; without `limosa.lab`
//! every request is answered `refused`, and a real PC has no such port.
//!
//! # Protocol, version 1
//!
//! Both directions: one JSON object a line, ended by `\n`, at most [`LINE_BYTES_MAX`] bytes with it.
//! Bytes of files and of commands' output travel as lower-case hexadecimal in `hex`. A reader ignores
//! keys and events that it does not know. A field that is absent has its default.
//!
//! ## Node to host: events of the node
//!
//! | line | when |
//! |---|---|
//! | `{"event":"booted","protocol":1,"name":"limosa-3fa2","kernel":"6.12.95+deb12-amd64","lab":true,"uptime_ms":900}` | first line; mounts done, modules loaded, links told to go up. Repeated when the host reconnects |
//! | `{"event":"agent-started","pid":210,"uptime_ms":950}` | each start of the agent |
//! | `{"event":"agent-ended","pid":210,"exit":1,"restart_in_ms":500,"uptime_ms":9000}` | `signal` in place of `exit` when a signal killed it |
//! | `{"event":"link","interface":"eth0","uptime_ms":940}` | an interface was found and told to go up |
//! | `{"event":"stopping","how":"poweroff","uptime_ms":9999}` | last line; `how` is `poweroff`, `reboot` or `halt` |
//!
//! `uptime_ms` counts from the kernel's start (CLOCK_BOOTTIME).
//!
//! ## Host to node: requests
//!
//! `id` is chosen by the host, unique among what is in progress; all answers carry it. Many commands
//! may run at the same time (at most [`COMMANDS_MAX`]).
//!
//! | line | meaning |
//! |---|---|
//! | `{"id":1,"argv":["limosa","nodes","--json"],"env":{"LANG":"C"},"directory":"/tmp"}` | run a program as root: `argv[0]` is looked up in PATH; `env` is added to the node's own; standard input is `/dev/null`; it leads its own session and process group |
//! | `{"id":1,"signal":2}` | signal number 2 to the process group of the running command 1; itself unanswered unless refused |
//! | `{"id":2,"write":"/tmp/prog","mode":493,"append":false,"hex":"7f454c46"}` | write a file (created with `mode`, default 420 = 0644; `append` continues it: send big files in pieces) |
//! | `{"id":3,"stop":"poweroff"}` | clean `poweroff`, `reboot` or `halt`, the agent first |
//!
//! ## Node to host: answers
//!
//! | line | when |
//! |---|---|
//! | `{"id":1,"event":"started","pid":231}` | the command runs |
//! | `{"id":1,"event":"stdout","hex":"6869"}` | as soon as it wrote, in pieces; `stderr` alike |
//! | `{"id":1,"event":"ended","exit":0}` | it ended, after all that it wrote; `"signal":9` in place of `exit` when a signal killed it |
//! | `{"id":2,"event":"done"}` | a `write` is complete |
//! | `{"id":1,"event":"refused","reason":"..."}` | nothing was done; `id` is absent when the line could not be read |
//!
//! A command's process that outlives it (`prog &`) is not killed, but its output is no longer read:
//! redirect it. When the host closes its end, running commands go on and their output waits in the pipe;
//! a host that does not read stops the command that writes, nothing else.

/// Longest line in either direction, in bytes with its newline. A piece of 256 KiB is 512 KiB of hex.
pub(crate) const LINE_BYTES_MAX: usize = 1 << 20;

/// Most commands that run at the same time.
pub(crate) const COMMANDS_MAX: usize = 64;
