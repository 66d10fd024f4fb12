//! Stories: what a person lives through at the command line, against the real binary and the embedded forge.

mod by_hand;
