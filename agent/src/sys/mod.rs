//! Raw kernel interfaces, and all `unsafe` of the agent.
