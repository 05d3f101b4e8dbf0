//! What a program knows of the world, its children, and interpreters.

use crate::conformance::{Program, Travel, conforms, conforms_if_it};

#[test]
fn ids_directory_limits_and_names_are_homes() {
    conforms(&Program::dynamic("surroundings").with(&["one", "two"]));
}

#[test]
fn children_are_made_at_home() {
    // Between fork and wait the program may be in a vfork, or have a child that shares its memory.
    conforms_if_it(
        &Program::statically_linked("children"),
        &Travel {
            may_refuse: Some("fork"),
        },
    );
}

#[test]
fn memory_shared_with_a_child_keeps_the_program_at_home() {
    conforms_if_it(
        &Program::dynamic("shared_memory"),
        &Travel {
            may_refuse: Some("shared-memory"),
        },
    );
}

const PYTHON: &str = "
import os, sys, threading, time, json, hashlib, tempfile
gate = os.environ['GATE']
results = set()
def work(n):
    while True:
        results.add((n, hashlib.sha256(bytes(range(256)) * 200 * n).hexdigest()))
        json.loads(json.dumps({str(i): i for i in range(500)}))
        time.sleep(0.003)
        if os.path.exists(gate): return
threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
with tempfile.TemporaryFile() as f:
    f.write(b'x' * 3000000); f.seek(0); print(len(f.read()))
print(sorted(results))
import subprocess
print(subprocess.run(['echo', 'child'], capture_output=True).stdout)
sys.exit(3)
";

#[test]
fn python_with_threads_files_and_children_prints_the_same() {
    conforms(&Program::command("/usr/bin/python3", &["-c", PYTHON]));
}

const SHELL: &str = "
i=0
while :; do
  i=$((i+1)); x=$(echo $((6*7)) | tr 4 5); [ \"$x\" = 52 ] || exit 9
  [ -e \"$GATE\" ] && break
done
trap 'echo trapped' USR1; kill -USR1 $$; cd /usr && pwd; (exit 4); echo $?; exit 6
";

#[test]
fn shells_run_their_pipelines() {
    for shell in ["/usr/bin/dash", "/usr/bin/bash"] {
        conforms(&Program::command(shell, &["-c", SHELL]));
    }
}
