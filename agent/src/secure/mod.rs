//! Cluster key, Noise handshake, encrypted records.
