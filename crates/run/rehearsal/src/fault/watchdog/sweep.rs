//! Finds the processes of a drill by where they stand: inside the drill's own folder.
//!
//! A drill killed between the start of a process and its lease leaves one that nobody leased. All
//! that a drill starts has its current folder inside the drill's folder from its first
//! instruction on, and the watchdog's pipe ends only after that: a child that has not begun its
//! program yet still holds a copy of the pipe.
//! Invariant: a shell that a person left in that folder is never found.

use std::path::Path;

use rustix::process::{Pid, getpid};

use super::process::Process;

/// The drill's processes whose current folder lies inside `folder`, which is canonical. `session`
/// is that of the drill.
pub(super) fn processes_inside(folder: &Path, session: Option<u32>) -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| process_inside(pid, folder, session)).collect()
}

fn process_inside(pid: u32, folder: &Path, session: Option<u32>) -> Option<Process> {
    if Pid::from_raw(i32::try_from(pid).ok()?) == Some(getpid()) {
        return None;
    }
    // Looked at before it is taken hold of, since most are not meant; and again after that.
    let inside = || {
        std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
            && std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|stat| is_of_drill(pid, &stat, session))
    };
    let process = inside().then(|| Process::hold(pid).ok())??;
    (inside() && !process.is_gone()).then_some(process)
}

/// The session of this process. `None` also where its leader lies outside the container.
pub fn own_session() -> Option<u32> {
    session_and_terminal(&std::fs::read_to_string("/proc/self/stat").ok()?)?.0
}

/// Who has no terminal, or shares the drill's session without being its shell.
fn is_of_drill(pid: u32, stat: &str, drill: Option<u32>) -> bool {
    let Some((session, terminal)) = session_and_terminal(stat) else { return false };
    terminal == "0" || (session.is_some() && session == drill && session != Some(pid))
}

/// The session and the terminal that a line of `/proc/PID/stat` names.
fn session_and_terminal(stat: &str) -> Option<(Option<u32>, &str)> {
    // pid (name) state parent group session terminal ...; the name may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(3);
    // 0: a leader that cannot be seen from inside a container; sessions of that kind are not one.
    let session = fields.next()?.parse().ok().filter(|&session| session != 0);
    Some((session, fields.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_at_a_terminal_is_left_alone() {
        let check = |stat: &str, expected: bool| {
            assert_eq!(is_of_drill(20, stat, Some(10)), expected, "{stat}");
        };
        check("20 (nginx) S 1 20 10 34816 20", true);
        check("20 (postgres) S 1 20 20 0 -1", true);
        check("20 (a) name) S 1 20 10 34816 20", true);
        check("20 (vim) S 15 20 15 34817 20", false);
        check("20 (bash) S 15 20 20 34817 20", false);
        check("20 (bash", false);
        assert!(
            !is_of_drill(10, "10 (bash) S 1 10 10 34816 20", Some(10)),
            "the drill's own shell"
        );
        assert!(!is_of_drill(20, "20 (vim) S 15 20 15 34817 20", None));
        let stranger = "20 (vim) S 15 20 0 34817 20";
        assert!(!is_of_drill(20, stranger, None), "a session led from outside the container");
    }
}
