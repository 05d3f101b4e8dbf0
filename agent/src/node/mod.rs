//! The agent: one driver that owns all state, its config and its control socket.
