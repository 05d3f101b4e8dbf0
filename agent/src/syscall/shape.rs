//! The words in which the table describes a call: classes, argument shapes, lengths, what comes back.
//!
//! Data only; the planner (`plan`) interprets it, the same way on both sides of a migration. Lengths are
//! those of the x86-64 kernel interface. Where it is uncertain which bytes of an output structure
//! the kernel writes, the table says [`Argument::InOut`]: the old contents travel along, so unwritten bytes
//! come back as they were.

/// One system call of x86-64.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its number in `rax`.
    pub number: u32,
    /// Its name as the kernel's headers write it.
    pub name: &'static str,
    /// What becomes of it when a guest makes it; resolve it with [`Class::resolve`].
    pub class: Class,
}

/// What becomes of a call that a guest makes.
#[derive(Clone, Copy, Debug)]
pub enum Class {
    /// Runs on the remote node; the filter lets it pass untrapped. Below [`Class::ByCommand`], a supervisor
    /// that traps the call all the same lets it go on.
    Local,
    /// The supervisor answers by itself.
    Answered(Answer),
    /// The deputy executes it at home.
    Forward(Forward),
    /// The supervisor has code of its own for it. A supervisor that lacks that code brings the process
    /// home. If a [`Forward`] is given, a part of that code is to forward the call in this shape.
    Special(SpecialCall, Option<Forward>),
    /// The process goes home and makes the call natively there; the text says why, for a person.
    ComesHome(&'static str),
    /// One of two classes, by a condition that a seccomp filter can test.
    If {
        /// The condition.
        condition: Condition,
        /// The class where the condition holds.
        then: &'static Class,
        /// The class where it does not.
        otherwise: &'static Class,
    },
    /// The class depends on the low 32 bits of an argument (`fcntl`, `prctl`, ...).
    ByCommand {
        /// Index of the argument.
        argument: u8,
        /// The known commands; the first that lists the value counts.
        commands: &'static [Command],
        /// The class of every other command.
        otherwise: &'static Class,
    },
    /// `ioctl`: the class depends on the request number, see [`super::ioctl`].
    Ioctl,
}

/// Some commands of a call and their class.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Values of the argument.
    pub values: &'static [u32],
    /// Their class.
    pub class: Class,
}

/// `argument & mask == equals`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Index of the argument.
    pub argument: u8,
    /// Which of its bits are compared.
    pub mask: u64,
    /// With what.
    pub equals: u64,
}

impl Condition {
    /// Whether the condition holds for these arguments.
    #[must_use]
    pub const fn holds(&self, args: &[u64; 6]) -> bool {
        args[self.argument as usize] & self.mask == self.equals
    }
}

/// What a supervisor answers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `-ENOSYS`: x86-64 has the number but never had, or no longer has, the call.
    NotImplemented,
}

/// Calls for which the supervisors have code of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialCall {
    /// `mmap` of a file, of shared or locked memory, or of huge pages.
    Mmap,
    /// `mremap`: executed locally; what stands for a file or for shared memory is moved at home, too.
    Remap,
    /// `mincore`: executed locally, when all memory has come.
    Residency,
    /// Locking memory: executed locally; at home if this node refuses.
    Lock,
    /// `rt_sigaction`: executed on both sides; the deputy must ignore what the guest ignores.
    SignalAction,
    /// `rt_sigprocmask`: executed locally, home is told the mask.
    SignalMask,
    /// `clone`, `clone3`, `fork`, `vfork`: a thread or a process is made at home, then locally.
    Clone,
    /// `execve`, `execveat`: forwarded; if it succeeds the process is another program, at home.
    Exec,
    /// `exit`: one thread ends.
    Exit,
    /// `exit_group`: the process ends.
    ExitGroup,
    /// Executed on both sides, forwarded first; local execution only if home succeeded (settings that act
    /// on memory).
    Mirror,
    /// `sched_setaffinity`: executed locally, of this node's CPUs; home's are set to the same numbers as far
    /// as there are any.
    SetAffinity,
    /// `sched_getaffinity` of another than the caller: executed locally for threads of the guest.
    GetAffinity,
    /// `sched_setattr`: forwarded, unless it asks for a real-time policy.
    Schedule,
}

/// How a call is forwarded.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// The shapes of its arguments, in order; arguments beyond are passed as they are.
    pub arguments: &'static [Argument],
    /// What the supervisors must know besides.
    pub facts: Facts,
}

/// What the supervisors must know of a forwarded call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Executing it changes something outside the guest's memory, so that the process can no longer
    /// be resumed from its departure image.
    pub visible: bool,
    /// It may block for an unbounded time.
    pub blocks: bool,
    /// A stop of the executing thread may end it with `EINTR` although no handler ran (signal(7)); then
    /// it is made again.
    pub restart_after_stop: bool,
    /// Where its temporary signal mask is, if it has one.
    pub signal_mask: Option<SignalMask>,
    /// How long it waits at most, if it is told so and forgets it when it is interrupted.
    pub timeout: Option<Timeout>,
    /// Its result may bring new descriptors inside a message (`SCM_RIGHTS`).
    pub receives_descriptors: bool,
    /// Its result is the descriptor of a file that was opened by name.
    pub opens: bool,
    /// It sends a signal, maybe to the caller: what it raises is delivered before it returns.
    pub sends_signal: bool,
    /// It may change limits, scheduling or rights, which the guest's node has to go by.
    pub regulates: bool,
    /// What may legally be asked for in smaller portions than the guest asked for.
    pub shortens: Option<Shorten>,
    /// How it goes on after such a portion; none if it ends with it.
    pub portions: Option<Portions>,
}

/// Where a call's temporary signal mask is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalMask {
    /// This argument points to it (or is NULL: the mask is unchanged).
    Argument(u8),
    /// This argument points to a pair of pointer and size (`pselect6`).
    Pack(u8),
}

/// Where a call has its relative timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// This argument is an `int` of milliseconds; negative: without end.
    Milliseconds(u8),
    /// This argument points to a `struct timespec` that the kernel only reads, or is NULL: without end.
    Timespec(u8),
}

/// How a transfer that is made in portions goes on when one has been transferred whole. Programs rely on writes
/// to blocking descriptors and on reads of regular files being whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portions {
    /// A read, which goes on only where it cannot block: on files. A write always does.
    pub reads: bool,
    /// The argument with the offset in the file, if there is one.
    pub offset: Option<u8>,
}

/// How a transfer may be made smaller. A short transfer is legal for these calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shorten {
    /// By this argument, which counts units of this many bytes.
    Argument {
        /// Index of the argument.
        argument: u8,
        /// Bytes per unit.
        unit: u32,
        /// The kernel refuses a larger count. Up to `u32::MAX` the argument is 32 bits wide.
        most: u64,
    },
    /// By the lengths within the vector of buffers.
    Vector,
}

/// The shape of one argument.
#[derive(Clone, Copy, Debug)]
pub enum Argument {
    /// A number, flags, or a pointer that the kernel ignores: passed as it is.
    Value,
    /// A file descriptor: the deputy has the same numbers. Passed as it is.
    Descriptor,
    /// A C string that the kernel reads, at most `PATH_MAX` bytes of it.
    Text,
    /// An array of pointers to C strings, ended by NULL (`argv`, `envp`).
    Texts,
    /// Memory that the kernel reads.
    In(Length),
    /// Memory that the kernel writes.
    Out(Length, Filled),
    /// Memory that the kernel reads and writes, or writes in part.
    InOut(Length, Filled),
    /// An array of `struct iovec` whose buffers the kernel reads; the argument with this index counts them.
    Gather(u8),
    /// An array of `struct iovec` whose buffers the kernel fills one after the other up to the result.
    Scatter(u8),
    /// A `struct msghdr` to send.
    SendMessage,
    /// A `struct msghdr` to receive into.
    ReceiveMessage,
    /// An array of `struct mmsghdr` to send; the argument with this index counts them.
    SendMessages(u8),
    /// An array of `struct mmsghdr` to receive into; the argument with this index counts them.
    ReceiveMessages(u8),
    /// An array of `struct pollfd`, of which the kernel writes `revents` only.
    PollDescriptors(u8),
    /// A structure with pointers in it.
    Structure(&'static Structure),
}

/// A structure with pointers in it.
#[derive(Clone, Copy, Debug)]
pub struct Structure {
    /// Its length in bytes.
    pub length_bytes: u32,
    /// The pointers in it.
    pub pointers: &'static [Pointer],
    /// Offset and length of a field that the kernel writes on success.
    pub returns: Option<(u32, u32)>,
}

/// A pointer within a [`Structure`].
#[derive(Clone, Copy, Debug)]
pub struct Pointer {
    /// Offset of the pointer.
    pub offset: u32,
    /// Offset of the field with the length of what it points to.
    pub length_offset: u32,
    /// Size of that field: 2, 4 or 8 bytes.
    pub length_width: u32,
    /// The field counts units of this many bytes.
    pub unit: u32,
    /// The kernel writes there (as many bytes as the returned field, or else the call's result, says).
    pub out: bool,
}

/// Length of a piece of memory.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// Fixed, in bytes.
    Bytes(u32),
    /// `argument * times + plus`.
    Counted {
        /// Index of the argument.
        argument: u8,
        /// The kernel takes the argument as 64 bits wide; otherwise as an `int`.
        wide: bool,
        /// Bytes per unit.
        times: u32,
        /// Bytes besides.
        plus: u32,
    },
    /// The `u32` that this argument points to (`socklen_t *`), which the kernel replaces by the true length.
    Pointed(u8),
    /// A bit for each descriptor below this argument, in words of 64 bits (`fd_set`).
    Bits(u8),
    /// A bit for each unit of this 64-bit argument less one, in words of 64 bits (NUMA node masks: the kernel's `maxnode`
    /// is one more than the bits).
    LongBits(u8),
    /// The structure begins with a `u32` from which its length follows: `u32 + plus`; never less than
    /// `prefix`.
    Own {
        /// Bytes that exist in any case.
        prefix: u32,
        /// Bytes besides those that the field counts.
        plus: u32,
    },
    /// The size encoded in an `ioctl` request number in this argument.
    Encoded(u8),
}

/// Which bytes of an output are valid after the call, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// All, if the call succeeded.
    Whole,
    /// All, if the result is greater than zero.
    WholeIfPositive,
    /// All, whatever the result.
    Always,
    /// All, if a signal interrupted the call and it is to go on for the time that remains.
    Interrupted,
    /// As many bytes as the result says.
    Result,
    /// `result * times + plus` bytes, if the call succeeded.
    ResultTimes {
        /// Bytes per unit of the result.
        times: u32,
        /// Bytes besides.
        plus: u32,
    },
    /// As many as the word says that [`Length::Pointed`] names, as the call left it; on success.
    Pointed,
}

/// A fixed length in bytes.
pub(super) const fn fixed(bytes: u32) -> Length {
    Length::Bytes(bytes)
}

/// A length that a 64-bit argument gives in bytes.
pub(super) const fn size(argument: u8) -> Length {
    Length::Counted {
        argument,
        wide: true,
        times: 1,
        plus: 0,
    }
}

/// A length that an `int` argument gives in bytes.
pub(super) const fn int(argument: u8) -> Length {
    Length::Counted {
        argument,
        wide: false,
        times: 1,
        plus: 0,
    }
}

/// A length that an `int` argument gives in units of `times` bytes.
pub(super) const fn array(argument: u8, times: u32) -> Length {
    Length::Counted {
        argument,
        wide: false,
        times,
        plus: 0,
    }
}

/// A length that a 64-bit argument gives in units of `times` bytes.
pub(super) const fn wide_array(argument: u8, times: u32) -> Length {
    Length::Counted {
        argument,
        wide: true,
        times,
        plus: 0,
    }
}

/// A call whose execution can be seen from outside the guest.
pub(super) const fn changes(arguments: &'static [Argument]) -> Forward {
    Forward {
        arguments,
        facts: Facts {
            visible: true,
            blocks: true,
            restart_after_stop: false,
            signal_mask: None,
            timeout: None,
            receives_descriptors: false,
            opens: false,
            sends_signal: false,
            regulates: false,
            shortens: None,
            portions: None,
        },
    }
}

/// A call that only asks: executing it again, or never, makes no difference outside the guest.
pub(super) const fn asks(arguments: &'static [Argument]) -> Forward {
    let mut forward = changes(arguments);
    forward.facts.visible = false;
    forward
}

impl Forward {
    /// Never blocks for long.
    pub(super) const fn quick(mut self) -> Forward {
        self.facts.blocks = false;
        self
    }

    /// A stop may end it with `EINTR`.
    pub(super) const fn restart_after_stop(mut self) -> Forward {
        self.facts.restart_after_stop = true;
        self
    }

    /// The argument points to a temporary signal mask.
    pub(super) const fn signal_mask(mut self, mask: SignalMask) -> Forward {
        self.facts.signal_mask = Some(mask);
        self
    }

    /// It has a relative timeout.
    pub(super) const fn timeout(mut self, timeout: Timeout) -> Forward {
        self.facts.timeout = Some(timeout);
        self
    }

    /// Messages with descriptors may arrive.
    pub(super) const fn receives_descriptors(mut self) -> Forward {
        self.facts.receives_descriptors = true;
        self
    }

    /// Opens a file by name.
    pub(super) const fn opens(mut self) -> Forward {
        self.facts.opens = true;
        self
    }

    /// Sends a signal.
    pub(super) const fn sends_signal(mut self) -> Forward {
        self.facts.sends_signal = true;
        self
    }

    /// Changes what the guest's node has to go by.
    pub(super) const fn regulates(mut self) -> Forward {
        self.facts.regulates = true;
        self
    }

    /// The byte count in this argument, a `size_t`, may be lowered.
    pub(super) const fn shortens(self, argument: u8) -> Forward {
        self.shortens_units(argument, 1, i64::MAX as u64)
    }

    /// The count of units of `unit` bytes in this argument may be lowered, unless it exceeds `most`.
    pub(super) const fn shortens_units(mut self, argument: u8, unit: u32, most: u64) -> Forward {
        self.facts.shortens = Some(Shorten::Argument {
            argument,
            unit,
            most,
        });
        self
    }

    /// Goes on with what was cut off.
    pub(super) const fn portions(mut self, reads: bool, offset: Option<u8>) -> Forward {
        self.facts.portions = Some(Portions { reads, offset });
        self
    }

    /// The vector of buffers may be cut.
    pub(super) const fn shortens_vector(mut self) -> Forward {
        self.facts.shortens = Some(Shorten::Vector);
        self
    }
}
