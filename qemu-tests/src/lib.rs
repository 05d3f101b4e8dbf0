//! The virtual lab: nodes in network namespaces and VMs on one user-space switch.
