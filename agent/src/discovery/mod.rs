//! Finding each other: the beacon protocol and the multicast sockets.
