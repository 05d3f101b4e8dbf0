//! The table of real programs. Their sources are in `programs/real`.

use super::dialogue::{look, type_keys};
use super::program::{Comparison, PLAIN, Program};

/// The interpreter itself: a `python3` elsewhere in the path may be a script that starts another.
const PYTHON: &str = "/usr/bin/python3";

/// A file of the package that brings the standard library, too; `python3-minimal` does not.
const PYTHON_WHOLE: &str = "/usr/bin/pydoc3";

/// All of them.
pub const PROGRAMS: &[Program] = &[
    Program {
        name: "gcc",
        needs: &[("gcc", "gcc"), ("/usr/include/stdlib.h", "libc6-dev")],
        prepare: "awk -v lines=$((SCALE * 1000)) -f $PROGRAMS/generate_c.awk >big.c",
        words: &["gcc", "-O2", "-g", "-Wall", "-o", "big", "big.c"],
        scale: 20,
        quick: true,
        ..PLAIN
    },
    Program {
        name: "g++",
        needs: &[("g++", "g++")],
        prepare: "awk -v lines=$((SCALE * 1000)) -f $PROGRAMS/generate_cpp.awk >big.cc",
        words: &["g++", "-O1", "-o", "big", "big.cc"],
        scale: 20,
        ..PLAIN
    },
    Program {
        name: "make -j4",
        needs: &[
            ("gcc", "gcc"),
            ("/usr/include/stdlib.h", "libc6-dev"),
            ("make", "make"),
            ("dpkg-source", "dpkg-dev"),
        ],
        prepare: "bash $PROGRAMS/fetch_source.sh lua5.4 $CACHE",
        words: &[
            "make",
            "-j4",
            "-C",
            "source/src",
            "CC=gcc -std=gnu99",
            "AR=ar rcD",
            "generic",
        ],
        // Four jobs end in any order.
        out: Comparison::Ignored,
        err: Comparison::Ignored,
        ..PLAIN
    },
    Program {
        name: "python threads",
        needs: &[(PYTHON_WHOLE, "python3")],
        words: &[PYTHON, "$PROGRAMS/python_threads.py"],
        scale: 4,
        quick: true,
        ..PLAIN
    },
    Program {
        name: "python subprocess",
        needs: &[(PYTHON_WHOLE, "python3")],
        words: &[PYTHON, "$PROGRAMS/python_subprocess.py"],
        scale: 4,
        quick: true,
        ..PLAIN
    },
    Program {
        name: "python asyncio",
        needs: &[(PYTHON_WHOLE, "python3")],
        words: &[PYTHON, "$PROGRAMS/python_asyncio.py"],
        scale: 4,
        quick: true,
        ..PLAIN
    },
    Program {
        name: "python multiprocessing",
        needs: &[(PYTHON_WHOLE, "python3")],
        words: &[PYTHON, "$PROGRAMS/python_multiprocessing.py"],
        scale: 6,
        ..PLAIN
    },
    Program {
        name: "python numpy",
        needs: &[("/usr/lib/python3/dist-packages/numpy", "python3-numpy")],
        words: &[PYTHON, "$PROGRAMS/python_numpy.py"],
        scale: 15,
        ..PLAIN
    },
    Program {
        name: "perl",
        needs: &[("perl", "perl")],
        words: &["perl", "$PROGRAMS/text.pl"],
        scale: 15,
        quick: true,
        ..PLAIN
    },
    Program {
        name: "bash pipelines",
        words: &["bash", "$PROGRAMS/pipelines.sh"],
        scale: 8,
        quick: true,
        ..PLAIN
    },
    Program {
        name: "bash traps",
        words: &["bash", "$PROGRAMS/traps.sh"],
        exit_code: 6,
        // The shell names killed children by their pids.
        err: Comparison::NumbersMasked,
        scale: 4,
        quick: true,
        ..PLAIN
    },
    Program {
        name: "bash job control",
        words: &["bash", "$PROGRAMS/jobs.sh"],
        out: Comparison::NumbersMasked,
        err: Comparison::NumbersMasked,
        scale: 4,
        quick: true,
        ..PLAIN
    },
    Program {
        name: "xz -T2",
        needs: &[("xz", "xz-utils")],
        prepare: "seq $((SCALE * 150000)) >numbers",
        words: &["xz", "-T2", "--block-size=1MiB", "--keep", "-6", "numbers"],
        scale: 8,
        quick: true,
        ..PLAIN
    },
    Program {
        name: "zstd -T2",
        needs: &[("zstd", "zstd")],
        prepare: "seq $((SCALE * 150000)) >numbers",
        words: &["zstd", "-T2", "-15", "--quiet", "--keep", "numbers"],
        scale: 10,
        ..PLAIN
    },
    Program {
        name: "sqlite3, rollback journal",
        needs: &[("sqlite3", "sqlite3")],
        prepare: "bash $PROGRAMS/transactions.sql.sh delete >statements",
        words: &["sqlite3", "account.db", ".read statements"],
        scale: 10,
        ..PLAIN
    },
    Program {
        name: "sqlite3, write-ahead log",
        needs: &[("sqlite3", "sqlite3")],
        prepare: "bash $PROGRAMS/transactions.sql.sh wal >statements",
        words: &["sqlite3", "account.db", ".read statements"],
        scale: 10,
        ..PLAIN
    },
    Program {
        name: "openssl speed",
        needs: &[("openssl", "openssl")],
        words: &["openssl", "speed", "-seconds", "1", "-multi", "2", "sha256"],
        out: Comparison::NumbersMasked,
        // Two children report in any order.
        err: Comparison::Ignored,
        ..PLAIN
    },
    Program {
        name: "openssl keys",
        needs: &[("openssl", "openssl")],
        words: &["bash", "$PROGRAMS/keys.sh"],
        scale: 8,
        ..PLAIN
    },
    Program {
        name: "ffmpeg, x264",
        needs: &[("ffmpeg", "ffmpeg")],
        words: &[
            "ffmpeg",
            "-nostdin",
            "-loglevel",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=480x270:rate=25:duration=8",
            "-c:v",
            "libx264",
            "-preset",
            "medium",
            "-threads",
            "2",
            // Threads that take a frame each come to other bytes now and then, natively too.
            "-x264-params",
            "sliced-threads=1",
            "-fflags",
            "+bitexact",
            "-flags:v",
            "+bitexact",
            "-y",
            "film.mkv",
        ],
        ..PLAIN
    },
    Program {
        name: "go",
        needs: &[("go", "golang-go")],
        prepare: "HOME=$PWD GOCACHE=$CACHE/go GOFLAGS=-trimpath go build -o goroutines $PROGRAMS/goroutines.go",
        words: &["./goroutines"],
        scale: 12,
        ..PLAIN
    },
    Program {
        // As it is it shares a file of figures with whoever wants to see them, and stays home.
        name: "java, shared figures",
        needs: &[
            ("java", "default-jre-headless"),
            ("javac", "default-jdk-headless"),
        ],
        prepare: "javac -d . $PROGRAMS/Collect.java",
        words: &["java", "-Xmx128m", "Collect"],
        scale: 6,
        ..PLAIN
    },
    Program {
        name: "java",
        needs: &[
            ("java", "default-jre-headless"),
            ("javac", "default-jdk-headless"),
        ],
        prepare: "javac -d . $PROGRAMS/Collect.java",
        words: &["java", "-XX:-UsePerfData", "-Xmx128m", "Collect"],
        scale: 6,
        ..PLAIN
    },
    Program {
        name: "node",
        needs: &[("node", "nodejs")],
        words: &["node", "$PROGRAMS/events.js"],
        scale: 8,
        ..PLAIN
    },
    Program {
        name: "rsync",
        needs: &[("rsync", "rsync")],
        prepare: "bash $PROGRAMS/tree.sh $((SCALE * 40))",
        words: &[
            "rsync",
            "--archive",
            "--hard-links",
            "--checksum",
            "--stats",
            "tree/",
            "copy",
        ],
        // Speeds.
        out: Comparison::NumbersMasked,
        scale: 20,
        ..PLAIN
    },
    Program {
        name: "tar | gzip",
        prepare: "bash $PROGRAMS/tree.sh 120",
        words: &["bash", "$PROGRAMS/archive.sh"],
        scale: 8,
        quick: true,
        ..PLAIN
    },
    Program {
        name: "find | xargs | sort, awk",
        prepare: "bash $PROGRAMS/tree.sh 120",
        words: &["bash", "$PROGRAMS/sorting.sh"],
        scale: 6,
        quick: true,
        ..PLAIN
    },
    Program {
        name: "git clone",
        needs: &[("git", "git")],
        prepare: "bash $PROGRAMS/repository.sh $((SCALE * 10)) origin",
        words: &["bash", "$PROGRAMS/clone.sh"],
        scale: 8,
        ..PLAIN
    },
    Program {
        name: "ssh-keygen",
        needs: &[("ssh-keygen", "openssh-client")],
        words: &["bash", "$PROGRAMS/ssh_keys.sh"],
        scale: 3,
        ..PLAIN
    },
    Program {
        name: "dpkg-deb",
        needs: &[("dpkg-deb", "dpkg")],
        prepare: "bash $PROGRAMS/tree.sh $((SCALE * 40))",
        words: &["bash", "$PROGRAMS/package.sh"],
        scale: 10,
        quick: true,
        ..PLAIN
    },
    Program {
        name: "cmake, ninja",
        needs: &[("g++", "g++"), ("cmake", "cmake"), ("ninja", "ninja-build")],
        prepare: "bash $PROGRAMS/cmake_project.sh",
        words: &["bash", "$PROGRAMS/cmake_build.sh"],
        // Logs with times, and a database of the times of files.
        files_ignored: &[
            "build/.ninja_deps",
            "build/.ninja_log",
            "build/CMakeCache.txt",
            "build/CMakeFiles",
        ],
        ..PLAIN
    },
    Program {
        name: "rustc",
        needs: &[("rustc", "rustc")],
        // Where rustup manages compilers, `rustc` asks it first, and rustup looks into the real home.
        prepare: "HOME=$(getent passwd $(id -u) | cut -d: -f6) rustc --print sysroot >sysroot
            bash $PROGRAMS/generate_rust.sh $((SCALE * 100)) >big.rs",
        words: &[
            "sh",
            "-c",
            "exec $(cat sysroot)/bin/rustc --edition 2021 -C opt-level=1 big.rs",
        ],
        scale: 2,
        ..PLAIN
    },
    Program {
        name: "ruby",
        needs: &[("ruby", "ruby")],
        words: &["ruby", "$PROGRAMS/words.rb"],
        scale: 8,
        ..PLAIN
    },
    Program {
        name: "lua",
        needs: &[("lua5.4", "lua5.4")],
        words: &["lua5.4", "$PROGRAMS/coroutines.lua"],
        scale: 20,
        ..PLAIN
    },
    Program {
        name: "php",
        needs: &[("php", "php-cli")],
        words: &["php", "$PROGRAMS/records.php"],
        scale: 20,
        ..PLAIN
    },
    Program {
        name: "redis",
        needs: &[
            ("redis-server", "redis-server"),
            ("redis-cli", "redis-tools"),
        ],
        words: &["redis-server", "$PROGRAMS/redis.conf"],
        client: "bash $PROGRAMS/redis_client.sh",
        // Its log has times and pids.
        out: Comparison::Ignored,
        err: Comparison::Ignored,
        // Both have times in them.
        files_ignored: &["dump.rdb", "redis.log"],
        scale: 4,
        ..PLAIN
    },
    Program {
        name: "nginx",
        needs: &[("/usr/sbin/nginx", "nginx-light"), ("curl", "curl")],
        prepare: "bash $PROGRAMS/tree.sh 40; bash $PROGRAMS/nginx_conf.sh >nginx.conf",
        words: &[
            "sh",
            "-c",
            "exec /usr/sbin/nginx -p $PWD -c $PWD/nginx.conf",
        ],
        client: "bash $PROGRAMS/nginx_client.sh",
        scale: 10,
        ..PLAIN
    },
    Program {
        name: "postgres",
        needs: &[
            ("/usr/lib/postgresql", "postgresql"),
            ("setpriv", "util-linux"),
        ],
        prepare: "bash $PROGRAMS/postgres_prepare.sh",
        words: &["bash", "$PROGRAMS/postgres.sh"],
        client: "bash $PROGRAMS/postgres_client.sh",
        out: Comparison::Ignored,
        err: Comparison::Ignored,
        // Write-ahead logs and statistics depend on timing.
        files_ignored: &["data", "server.log"],
        scale: 4,
        ..PLAIN
    },
    Program {
        name: "vim",
        needs: &[("vim", "vim")],
        prepare: "seq 3000 | sed 's/^/line /' >text",
        words: &["vim", "-u", "NONE", "-N", "-n", "-i", "NONE", "text"],
        dialogue: &[
            look("line 12"),
            type_keys(":%s/line/LINE/\r"),
            look("3000 substitutions"),
            type_keys(":set number\r"),
            type_keys("gg:2,2990!sort -rn -k2\r"),
            look("2989 lines filtered"),
            type_keys("ggOa line in front\x1b"),
            type_keys(":g/7$/d\r"),
            look("fewer lines"),
            type_keys("gg5yyGpu\x12"),
            type_keys(":w copy\r"),
            look("\"copy\""),
            type_keys(":r !seq 5\r"),
            look("5 more lines"),
            type_keys(":x\r"),
        ],
        // A busy editor leaves out what it would draw over.
        out: Comparison::Ignored,
        ..PLAIN
    },
    Program {
        name: "less",
        needs: &[("less", "less")],
        prepare: "seq 100000 | sed 's/^/row /' >text",
        words: &["less", "text"],
        dialogue: &[
            look("row 23"),
            type_keys(" "),
            look("row 46"),
            type_keys("G"),
            look("row 100000"),
            type_keys("?row 77777\r"),
            look("row 77799"),
            type_keys("50p"),
            look("row 50"),
            type_keys("&99\r"),
            look("row 50999"),
            // Without a pattern, the filter ends.
            type_keys("&\r"),
            look("row 50600"),
            type_keys("/54321\r"),
            look("row 54343"),
            type_keys("q"),
        ],
        out: Comparison::Ignored,
        ..PLAIN
    },
];

/// Those that the monkey plays with.
pub const MONKEY: [&str; 12] = [
    "gcc",
    "make -j4",
    "python threads",
    "python asyncio",
    "perl",
    "bash pipelines",
    "xz -T2",
    "sqlite3, rollback journal",
    "go",
    "node",
    "redis",
    "vim",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_program_has_a_name_of_its_own_and_its_source_is_there() {
        let names: BTreeSet<_> = PROGRAMS.iter().map(|program| program.name).collect();
        assert_eq!(names.len(), PROGRAMS.len());
        assert!(MONKEY.iter().all(|name| names.contains(name)));
        for program in PROGRAMS {
            let commands = program.prepare.split_whitespace();
            for word in program.words.iter().copied().chain(commands) {
                if let Some(source) = word.strip_prefix("$PROGRAMS/") {
                    let path = super::super::stage::sources().join(source);
                    assert!(path.exists(), "{}: {}", program.name, path.display());
                }
            }
        }
    }
}
