//! Who is in the cluster, alive or lost.
