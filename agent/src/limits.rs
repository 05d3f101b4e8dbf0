//! Every bound in one table: lengths, counts and queues that untrusted input could otherwise grow.

/// Longest node name, in bytes of UTF-8.
pub const NODE_NAME_LENGTH_MAX: usize = 64;

/// Longest CBOR message on a unix socket (control requests and the supervisor link), in bytes.
pub const LOCAL_MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Most threads of a process that may migrate.
pub const THREADS_MAX: usize = 1024;

/// Most mappings of a process that may migrate (the kernel's own default is 65,530).
pub const MAPPINGS_MAX: usize = 65_530;

/// Most files and pieces of shared memory that a process that may migrate has mapped.
pub const MEMORY_OBJECTS_MAX: usize = 8192;

/// Most runs of guard pages (MADV_GUARD_INSTALL) of a process that may migrate.
pub const GUARD_REGIONS_MAX: usize = 65_536;

/// Most memory that one message of a guest on its way home speaks of, in bytes.
pub const EARLY_BYTES_MAX: u64 = 4 << 20;

/// Most names of programs of whose lives something is known.
pub const PROGRAMS_KNOWN_MAX: usize = 256;

/// Most runs of huge pages that are told of one process.
pub const HUGE_RUNS_MAX: usize = 65_536;

/// Most runs of pages that home has already when a guest comes home.
pub const KEPT_RUNS_MAX: usize = 65_536;

/// Longest set of CPUs that is handled, in bytes: one bit for each of the 8192 that a kernel can be built for.
pub const CPU_SET_BYTES_MAX: usize = 1024;

/// Most attributes of one thread that travel (`migrate::attributes`).
pub const THREAD_ATTRIBUTES_MAX: usize = 16;

/// Longest /proc/PID/maps read, in bytes: [`MAPPINGS_MAX`] lines of an average path of 400 bytes.
pub const MAPS_BYTES_MAX: usize = 32 << 20;

/// Longest /proc/PID/smaps read, in bytes (about 900 bytes a mapping).
pub const SMAPS_BYTES_MAX: usize = 96 << 20;

/// Longest of the other files of /proc/PID (status, stat, auxv, fdinfo), in bytes. A process can have
/// 65,536 supplementary groups, and status lists them all.
pub const PROC_FILE_BYTES_MAX: usize = 1 << 20;

/// Most open descriptors of a process that may migrate.
pub const DESCRIPTORS_MAX: usize = 65_536;

/// Most entries of an auxiliary vector (Linux 6.18 makes about 22).
pub const AUXILIARY_VECTOR_ENTRIES_MAX: usize = 256;

/// Most plaintext in one encrypted record of a connection between nodes, in bytes: a piece of memory and
/// what is in front of it.
pub const RECORD_PLAINTEXT_BYTES_MAX: usize = (256 << 10) + 64;

/// Most ranges of pages that one message names.
pub const PAGE_RUNS_MAX: usize = 4096;

/// Longest reason that a node gives for a refusal, in bytes of UTF-8.
pub const REFUSAL_LENGTH_MAX: usize = 240;

/// Longest `Hello` or answer to it at the beginning of a connection, in bytes of CBOR.
pub const HELLO_BYTES_MAX: usize = 1024;

/// Most nodes of a cluster that one agent keeps track of; further ones are refused, in words. A power of
/// two, as the table of the replay guard needs it.
pub const MEMBERS_MAX: usize = 1024;

/// Most addresses from which one node is heard that are kept.
pub const HEARD_ADDRESSES_MAX: usize = 4;

/// Most addresses of one node that are kept and announced.
pub const NODE_ADDRESSES_MAX: usize = 8;

/// Most strangers that are remembered as refused; the oldest makes room.
pub const REFUSALS_MAX: usize = 32;

/// Most events about members that wait for the agent to take them; further ones are counted and lost.
pub const MEMBER_EVENTS_MAX: usize = 1024;

/// Most connections of other nodes that wait for the agent to accept or refuse them; further ones are
/// refused as busy.
pub const INCOMING_MAX: usize = 64;

/// Most connections that may be in the middle of their handshake; then the oldest makes room.
pub const HANDSHAKES_PENDING_MAX: usize = 32;

/// Longest control request, in bytes: a node's name is the longest thing in one.
pub const CONTROL_REQUEST_BYTES_MAX: usize = 16 << 10;

/// Most control connections served at the same time.
pub const CONTROL_CONNECTIONS_MAX: usize = 256;

/// How long a control client may take to send its request, in milliseconds.
pub const CONTROL_REQUEST_TIMEOUT_MS: u64 = 5_000;

/// Most events that wait for the agent's driver.
pub const EVENTS_WAITING_MAX: usize = 1024;

/// Most messages that wait to be read by one supervisor.
pub const SUPERVISOR_MESSAGES_WAITING_MAX: usize = 64;

/// Most guests of one node.
pub const GUESTS_MAX: usize = 1024;

/// Longest agent configuration file, in bytes.
pub const CONFIG_BYTES_MAX: usize = 64 << 10;

/// Longest command line shown of a process, in bytes.
pub const COMMAND_BYTES_MAX: usize = 4096;

/// Longest line of a supervisor that the agent logs or keeps, in bytes.
pub const NOTICE_BYTES_MAX: usize = 1024;

/// How long an agent that is told to stop waits for guests to go home, in milliseconds.
pub const STOP_TIMEOUT_MS: u64 = 10_000;

/// How long it then waits for supervisors that have nothing to do any more to end, in milliseconds.
pub const DISMISS_TIMEOUT_MS: u64 = 500;

/// Calls that may be made in portions (read, write, ...) are forwarded in portions of this many bytes.
pub const FORWARD_PORTION_BYTES: u64 = 1 << 20;

/// Most bytes of memory that one forwarded call may use; a call that wants more comes home.
pub const FORWARD_BYTES_MAX: u64 = 4 << 20;

/// Most pieces of memory of one forwarded call (iovecs, messages and their parts).
pub const FORWARD_SEGMENTS_MAX: usize = 4096;

/// Longest string argument that the kernel reads: `PATH_MAX`.
pub const FORWARD_TEXT_BYTES_MAX: u64 = 4096;

/// Longest argument or environment string of a program that the kernel takes: `MAX_ARG_STRLEN`.
pub const FORWARD_ARGUMENT_BYTES_MAX: u64 = 32 * 4096;

/// Scratch memory of a deputy in which every forwarded call within the limits above can be laid out: large
/// pieces at most double by alignment, and each small one wastes less than two gaps.
pub const FORWARD_SCRATCH_BYTES: u64 =
    2 * FORWARD_BYTES_MAX + 32 * FORWARD_SEGMENTS_MAX as u64 + 4096;

/// Longest kernel release kept or taken from a peer, in bytes (`__NEW_UTS_LEN` is 64).
pub const KERNEL_RELEASE_LENGTH_MAX: usize = 64;

/// Largest vDSO image read, in bytes (Linux 6.18 has two pages).
pub const VDSO_BYTES_MAX: usize = 1 << 16;

/// Longest datagram between agents, in bytes: fits the smallest IPv6 link without fragments.
pub const DATAGRAM_BYTES_MAX: usize = 1232;

/// Load vectors in one gossip message: under a kilobyte.
pub const GOSSIP_ENTRIES_MAX: usize = 24;

/// Load vectors that a node keeps.
pub const GOSSIP_VIEW_MAX: usize = 96;

/// Nodes whose vectors are kept in preference, as they host processes of ours.
pub const GOSSIP_HOSTS_MAX: usize = 48;

/// Homes that hear first of a free CPU, as their processes were turned away; of more, the latest.
pub const GOSSIP_TURNED_AWAY_MAX: usize = 8;

/// Moves that were ordered and cannot be seen in the loads yet; of more, the oldest are forgotten.
pub const MOVES_EXPECTED_MAX: usize = 512;

/// Most processes of a home, and of its guests, that are looked at each second.
pub const PROCESSES_BALANCED_MAX: usize = 1024;

/// Nodes of which is remembered that moves there failed or that they come and go.
pub const DOUBTFUL_NODES_MAX: usize = 256;

/// Nodes that one process is remembered to have failed to reach.
pub const AVOIDED_NODES_MAX: usize = 4;

/// Longest beacon, in bytes with its envelope.
pub const BEACON_BYTES_MAX: usize = 512;

/// Longest version text of an agent, in bytes.
pub const VERSION_LENGTH_MAX: usize = 24;

/// Most network interfaces of a node that are looked at.
pub const INTERFACES_MAX: usize = 256;

/// Most addresses of one network interface that are looked at.
pub const INTERFACE_ADDRESSES_MAX: usize = 16;

/// Longest membership message with the load in front of it, in bytes.
pub const MEMBERSHIP_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - 60;

/// Longest load in front of a membership message, in bytes with its length.
pub const LOAD_BYTES_MAX: usize = 64;

/// Largest header of a message on the migration channel, in bytes: the image of a process with many
/// threads, each with up to 16 KiB of registers.
pub const MIGRATION_HEADER_BYTES_MAX: usize = 32 << 20;

/// Largest payload of a message on the migration channel, in bytes: the buffers of one call.
pub const MIGRATION_PAYLOAD_BYTES_MAX: usize = 8 << 20;

/// Most pieces of files that a node offers to have for one home.
pub const PIECES_MAX: usize = 2048;

/// Most files in which a node keeps pieces.
pub const PIECE_FILES_MAX: usize = 32;

/// Most queued signals of a thread that travel.
pub const QUEUED_SIGNALS_MAX: usize = 1024;

/// Most links that a boot server serves.
pub const NETBOOT_LINKS_MAX: usize = 16;

/// Most files that a boot server sends by TFTP at the same time.
pub const NETBOOT_TRANSFERS_MAX: usize = 64;

/// Most HTTP connections of a boot server at the same time.
pub const NETBOOT_CONNECTIONS_MAX: usize = 64;

/// Longest parameters that a boot server hands out, in bytes: the kernel's own COMMAND_LINE_SIZE.
pub const NETBOOT_PARAMETERS_BYTES_MAX: usize = 2048;

/// Directories at home that the supervisor of one family watches for its guests.
pub const WATCHED_DIRECTORIES_MAX: usize = 256;

/// Names in them of which guests have been told.
pub const WATCHED_NAMES_MAX: usize = 4096;

/// Answers about names that are kept for one guest.
pub const LASTING_ANSWERS_MAX: usize = 1024;

/// Most bytes of a file that are sent to a guest before it has asked for them.
pub const AHEAD_BYTES_MAX: usize = 64 << 10;

/// Descriptors that a process has opened while away of which that is remembered.
pub const OWN_DESCRIPTORS_MAX: usize = 256;

/// Nodes that ask to be admitted of which one question keeps the answers.
pub const ASKERS_MAX: usize = 64;

/// Of those that ask, on how many an operator's code is tried: each try is a guess for who only pretends to.
pub const ASKERS_TRIED_MAX: usize = 3;

/// Members that are asked for the time.
pub const CLOCKS_ASKED_MAX: usize = 5;

/// Addresses to which an operator's code makes connect at most.
pub const ASKER_ADDRESSES_MAX: usize = 12;

/// Connections that a node that asks to be admitted has at a time; of more, the oldest makes room.
pub const ASKER_CONNECTIONS_MAX: usize = 16;
