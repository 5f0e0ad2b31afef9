//! What is wrong with a value, in words.

use std::borrow::Cow;

/// What is wrong with a value, in words that follow its path and a colon. Nothing of the value is
/// in them.
pub type Complaint = Cow<'static, str>;
