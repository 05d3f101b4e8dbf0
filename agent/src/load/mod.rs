//! What this node and its processes are doing.
