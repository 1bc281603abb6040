//! Standard input that Ctrl-C can end: a read on a pipe that stays open and silent never returns by itself.
//!
//! Reads: standard input, where it is a pipe, a socket or a terminal. Emits: the same bytes on the same descriptor,
//! through a pipe of this process that closes when the stop flag is raised; so whoever reads meets the end of the
//! input and what came before is reported. Does not: touch a standard input that is a file: that never waits.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::stdio::dup2_stdin;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes carried at once: what a pipe of Linux holds.
const PIECE: usize = 64 * 1024;

/// How long silence lasts before the flag is looked at.
const QUIET: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// From here on, standard input ends when `stop` is raised.
///
/// # Errors
/// No pipe or thread could be made.
pub(super) fn ends_on(stop: &Arc<AtomicBool>) -> io::Result<()> {
    let outer = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    if outer.metadata()?.is_file() {
        return Ok(());
    }
    let (inner, carried) = io::pipe()?;
    dup2_stdin(&inner)?;
    let stop = Arc::clone(stop);
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || carry(outer, carried, &stop))?;
    Ok(())
}

/// Carries bytes until the input ends, its reader has gone, or `stop` is raised; leaving closes the pipe.
fn carry(mut from: File, mut to: io::PipeWriter, stop: &AtomicBool) {
    let mut piece = vec![0; PIECE];
    while !stop.load(Ordering::Relaxed) {
        let mut fds = [PollFd::new(&from, PollFlags::IN)];
        match poll(&mut fds, Some(&QUIET)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(_) => return,
        }
        let bytes = match from.read(&mut piece) {
            Ok(0) => return,
            Ok(n) => piece.get(..n).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                tracing::error!("standard input: {error}");
                return;
            }
        };
        if to.write_all(bytes).is_err() {
            return;
        }
    }
}
