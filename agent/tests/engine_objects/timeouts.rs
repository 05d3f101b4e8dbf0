//! Calls with a relative timeout, cut short by moves.

use std::time::Instant;

use crate::journeys::{Random, native};
use crate::programs::Program;
use crate::running::Running;
use crate::two_supervisors::{DEADLINE, Supervisors};

/// Timeouts of 5 s: if moves made them begin anew they would not run out as long as the program is moved.
#[test]
fn relative_timeouts_run_out_in_time_while_the_program_is_moved_again_and_again() {
    let program = Program::dynamic("relative_timeouts");
    let native = native(&program);
    let mut random = Random::new(7);
    let mut running = Running::start_natively(&program);
    let begin = Instant::now();
    let mut moves = 0;
    'journey: while running.lives() {
        let mut supervisors = Supervisors::of(running.pid);
        for destination in ["n2", "home", "n2", "n3", "home"] {
            random.pause(100);
            match supervisors.migrate(destination) {
                Ok(_) => moves += 1,
                Err(error) if running.lives() => panic!("{error:?}\n{}", running.describe()),
                Err(_) => break 'journey,
            }
            assert!(
                begin.elapsed() < DEADLINE,
                "after {moves} moves\n{}",
                running.describe()
            );
        }
        assert!(supervisors.ends_within(DEADLINE));
        supervisors.finish();
    }
    assert_eq!(running.outcome(), native);
    assert!(moves > 3);
}
