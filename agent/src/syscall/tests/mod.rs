//! The table against the kernel's own lists, the shapes of common calls, and what hostile peers can do.

mod complete;
mod hostile;
mod shapes;
mod world;
