//! The table of every x86-64 system call: its class and its argument shapes.
