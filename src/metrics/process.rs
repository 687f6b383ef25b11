//! What Linux says of this process in `/proc` (proc(5)).
//!
//! Read by hand: the collector that the `prometheus` crate brings tells processor time in whole
//! seconds, which is too coarse for the rates of a minute, and takes two crates more.

use std::fs;
use std::time::Duration;

/// The unit of times in `/proc/[pid]/stat`, in a second (`USER_HZ`): 100 on every architecture that
/// Rust supports Linux on, whatever the kernel's own clock is.
const TICKS_PER_SECOND: u64 = 100;

/// What a process uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProcessUse {
    /// Processor time of user and system.
    pub(super) cpu: Duration,
    /// Memory that is there, in bytes.
    pub(super) resident_bytes: u64,
    /// Address space, in bytes.
    pub(super) virtual_bytes: u64,
    pub(super) threads: u64,
    pub(super) open_fds: u64,
    /// Those that may be open.
    pub(super) max_fds: u64,
    /// When it started, from 1970 on.
    pub(super) started: Duration,
}

impl ProcessUse {
    /// What this process uses now; `None` where there is no `/proc`, or one of another form.
    pub(super) fn of_this_process() -> Option<Self> {
        let read = |path: &str| fs::read_to_string(path).ok();
        // The one that is open for reading the list is not one of them.
        let open_fds = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as u64;
        Self::parse(
            &read("/proc/self/stat")?,
            &read("/proc/self/status")?,
            &read("/proc/self/limits")?,
            &read("/proc/stat")?,
            open_fds,
        )
    }

    fn parse(stat: &str, status: &str, limits: &str, system: &str, open_fds: u64) -> Option<Self> {
        // The name of the program is in parentheses, and may have any character in it.
        let (_, fields) = stat.rsplit_once(')')?;
        let field = |number: usize| -> Option<u64> {
            // They are counted from 1, and the first after the name is the third.
            fields.split_ascii_whitespace().nth(number - 3)?.parse().ok()
        };
        let boot: u64 = of_line(system, "btime ")?.parse().ok()?;
        Some(Self {
            cpu: ticks(field(14)?.checked_add(field(15)?)?),
            resident_bytes: kibibytes(status, "VmRSS:")?,
            virtual_bytes: kibibytes(status, "VmSize:")?,
            threads: of_line(status, "Threads:")?.parse().ok()?,
            open_fds,
            max_fds: match of_line(limits, "Max open files ")?.split_ascii_whitespace().next()? {
                "unlimited" => u64::MAX,
                number => number.parse().ok()?,
            },
            started: Duration::from_secs(boot).checked_add(ticks(field(22)?))?,
        })
    }
}

fn ticks(ticks: u64) -> Duration {
    let rest = ticks % TICKS_PER_SECOND * (1000 / TICKS_PER_SECOND);
    Duration::from_secs(ticks / TICKS_PER_SECOND) + Duration::from_millis(rest)
}

/// What stands behind the beginning of a line.
fn of_line<'a>(text: &'a str, beginning: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(beginning)).map(str::trim)
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    of_line(status, name)?.strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAT: &str = "4242 (safe) light (x) S 1 4242 4242 0 -1 4194560 100 0 0 0 1234 766 0 0 20 0 \
                        9 0 1250 2000000 900 18446744073709551615 1 1 0 0";
    const STATUS: &str =
        "Name:\tsafelight\nVmSize:\t  204800 kB\nVmRSS:\t   10240 kB\nThreads:\t9\n";
    const LIMITS: &str = "Limit  Soft Limit  Hard Limit  Units\n\
                          Max open files            1024                 1048576              files\n";
    const SYSTEM: &str = "cpu 1 2 3\nbtime 1700000000\nprocesses 5\n";

    #[test]
    fn what_linux_writes_is_read() {
        let expected = ProcessUse {
            cpu: Duration::from_secs(20),
            resident_bytes: 10 << 20,
            virtual_bytes: 200 << 20,
            threads: 9,
            open_fds: 17,
            max_fds: 1024,
            started: Duration::from_millis(1_700_000_012_500),
        };
        assert_eq!(ProcessUse::parse(STAT, STATUS, LIMITS, SYSTEM, 17), Some(expected));
        let unlimited = LIMITS.replace("1024 ", "unlimited ");
        let parsed = ProcessUse::parse(STAT, STATUS, &unlimited, SYSTEM, 17).unwrap();
        assert_eq!(parsed.max_fds, u64::MAX);
    }

    #[test]
    fn what_is_of_another_form_is_not_guessed() {
        for (stat, status, limits, system) in [
            ("4242 safelight S 1", STATUS, LIMITS, SYSTEM),
            ("4242 (safelight) S 1", STATUS, LIMITS, SYSTEM),
            (STAT, "Threads:\t9\n", LIMITS, SYSTEM),
            (STAT, STATUS, "", SYSTEM),
            (STAT, STATUS, LIMITS, "btime soon\n"),
        ] {
            assert_eq!(ProcessUse::parse(stat, status, limits, system, 1), None);
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_read_can_break_it(texts in prop::array::uniform4(".{0,200}")) {
            let [stat, status, limits, system] = texts;
            let _ = ProcessUse::parse(&format!("1 (x) {stat}"), &status, &limits, &system, 1);
        }

        #[test]
        fn processor_time_is_told_to_the_tick(user in 0..u64::from(u32::MAX), system in 0..u64::from(u32::MAX)) {
            let stat = STAT.replace("1234 766", &format!("{user} {system}"));
            let parsed = ProcessUse::parse(&stat, STATUS, LIMITS, SYSTEM, 1).unwrap();
            prop_assert_eq!(parsed.cpu, Duration::from_millis((user + system) * 10));
        }
    }
}
