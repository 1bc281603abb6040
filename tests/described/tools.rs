//! Dialogues of this group.
