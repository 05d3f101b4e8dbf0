//! Whether what runs on one node can run on another: pure comparison of what the two can do.

use super::reason;
use crate::sys::probe::Capabilities;
use crate::wire::supervisor::Reason;

/// Why a process that relies on this much of its home cannot go to this remote; nothing if it can.
#[must_use]
pub fn compare_nodes(home: &Capabilities, remote: &Capabilities) -> Vec<Reason> {
    let mut reasons = remote.missing_for_guests();
    let lacking = home.cpu.extensions_lacking_on(&remote.cpu);
    if !lacking.is_empty() {
        reasons.push(reason(
            "cpu",
            format!(
                "the remote's CPU lacks what the program may use already: {}; choose a node with \
                 a CPU at least as new, or start it by 'limosa run --baseline x86-64-v2'",
                lacking.join(", ")
            ),
        ));
    }
    judge_extended_state(home, remote, &mut reasons);
    reasons
}

fn judge_extended_state(home: &Capabilities, remote: &Capabilities, reasons: &mut Vec<Reason>) {
    let (here, there) = (
        home.cpu.extended_state_parts,
        remote.cpu.extended_state_parts,
    );
    if here == 0 {
        // FXSAVE writes the same 512 bytes everywhere.
        return;
    }
    let layout = |node: &Capabilities| node.cpu.extended_state_layout;
    let mut parts = (0..).zip(layout(home).into_iter().zip(layout(remote)));
    let moved = parts.find(|(number, (here_part, there_part))| {
        here & there & (1 << number) != 0 && here_part != there_part
    });
    if here & !there != 0 {
        reasons.push(reason(
            "extended-state",
            format!(
                "the remote's kernel keeps fewer registers than home's (XCR0 0x{there:x}, here \
                 0x{here:x}); choose another node, boot both with the same kernel options, or start it by \
                 'limosa run --baseline x86-64-v2'"
            ),
        ));
    } else if let Some((number, _)) = moved {
        reasons.push(reason(
            "extended-state",
            format!(
                "the remote's CPU keeps some registers in another place than home's (part {number} of \
                 XSAVE), where a signal's handler would not find them; choose a node with a CPU of the \
                 same maker, or start it by 'limosa run --baseline x86-64-v2'"
            ),
        ));
    } else if here != there {
        // A signal's frame that is made there is in that CPU's layout. Home's kernel takes of a frame that is
        // longer than its own only the x87 and SSE state (check_xstate_in_sigframe), so a handler that comes
        // home would return with AVX registers emptied. Without XSAVEC the dynamic linker would besides
        // save more than it has measured room for.
        reasons.push(reason(
            "extended-state",
            format!(
                "the remote's CPU has more registers (XCR0 0x{there:x}, here 0x{here:x}) than programs \
                 started here leave room for; choose a node with the same kind of CPU, or start it by \
                 'limosa run --baseline x86-64-v2'"
            ),
        ));
    }
}

/// Why these threads cannot have the same ids on the remote; nothing if they can.
#[must_use]
pub fn compare_pids(tids: &[u32], remote: &Capabilities) -> Vec<Reason> {
    match tids.iter().max() {
        Some(highest) if *highest >= remote.pid_end => vec![reason(
            "pid-range",
            format!(
                "the remote numbers processes only up to {}, and thread {highest} is beyond; \
                 'sysctl kernel.pid_max=4194304' there raises that",
                remote.pid_end.saturating_sub(1)
            ),
        )],
        _ => Vec::new(),
    }
}
