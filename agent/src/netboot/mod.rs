//! The boot server: one node boots all the others of its link from their network cards.
//!
//! It hands out the image that it was booted from itself (or one that `mkiso.sh` made) beside whatever DHCP
//! server the network has, or gives addresses itself where there is none. A PC with a BIOS loads iPXE by
//! TFTP and by that, over HTTP, kernel and archives; one with UEFI loads kernel and archives as one program.
//!
//! [`dhcp`], [`choice`], [`leases`], [`tftp`], [`http`] and [`archive`] are pure: what strangers send goes
//! through nothing else before it is understood. [`catalog`] has the files; [`server`] is the glue, one
//! thread and one loop around the sockets.
//!
//! Network boot has no authentication: whoever is on the link can ask, and can answer, too. So the cluster
//! key is handed out only when the operator chooses that.

pub mod archive;
pub mod catalog;
pub mod choice;
pub mod dhcp;
pub mod http;
pub mod leases;
pub mod link;
pub mod server;
pub mod tftp;
