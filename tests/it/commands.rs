//! The commands, as a person or a script uses them.
