//! What the two ends of a conversation do, as data: who sends how many bytes, after what, and after how long.
//!
//! Reads: nothing. Emits: steps for the world to carry out. Does not: hold times; a step waits for bytes that have
//! really arrived, so an answer is never earlier than its question.

use crate::base::Direction;

/// One step of a socket's script.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Send these bytes (over UDP: as one datagram).
    Send(Vec<u8>),
    /// Wait until this many bytes more have arrived, and take them.
    Await(usize),
    /// Compute, read or hesitate for this many nanoseconds.
    Pause(i64),
    /// Open the connection of that socket, and wait until it is open.
    Connect(usize),
    /// The second half of `Connect`.
    Connected(usize),
    /// Pass everything on between this socket and that one from now on.
    Splice(usize),
    /// Close this side.
    Close,
}

/// The scripts of both ends, written together.
#[derive(Debug, Default)]
pub(super) struct Dialogue {
    pub(super) client: Vec<Step>,
    pub(super) server: Vec<Step>,
}

impl Dialogue {
    /// The client thinks, then says; the server waits for it.
    pub(super) fn client_says(&mut self, think: i64, bytes: Vec<u8>) {
        self.says(Direction::Orig, think, bytes);
    }

    /// The server thinks, then says; the client waits for it.
    pub(super) fn server_says(&mut self, think: i64, bytes: Vec<u8>) {
        self.says(Direction::Resp, think, bytes);
    }

    fn says(&mut self, who: Direction, think: i64, bytes: Vec<u8>) {
        let (speaker, listener) = match who {
            Direction::Orig => (&mut self.client, &mut self.server),
            Direction::Resp => (&mut self.server, &mut self.client),
        };
        listener.push(Step::Await(bytes.len()));
        speaker.extend([Step::Pause(think), Step::Send(bytes)]);
    }

    /// Both speak without waiting for the other, then each waits for what the other said.
    pub(super) fn both_say(&mut self, client: Vec<u8>, server: Vec<u8>) {
        let lengths = (client.len(), server.len());
        self.client.extend([Step::Send(client), Step::Await(lengths.1)]);
        self.server.extend([Step::Send(server), Step::Await(lengths.0)]);
    }

    /// The client closes; the server follows by itself.
    pub(super) fn client_closes(&mut self) {
        self.client.push(Step::Close);
    }
}

/// What one end says, piece by piece.
pub(super) fn spoken(steps: &[Step]) -> Vec<Vec<u8>> {
    steps.iter().filter_map(|step| if let Step::Send(bytes) = step { Some(bytes.clone()) } else { None }).collect()
}
