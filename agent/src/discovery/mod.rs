//! Finding each other, without DHCP, router or name server.
//!
//! Pure: [`beacon`] (what is said), [`schedule`] (when), [`interfaces`] (what the kernel tells of the
//! network interfaces), [`refusals`] (whom we turned away, and why). Glue: [`multicast`] (the sockets).

pub mod beacon;
pub mod interfaces;
pub mod multicast;
pub mod refusals;
pub mod schedule;
