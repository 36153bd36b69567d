//! The log lines of the real code, which need no thread of their own here.

/// As the macro of the same name in the library.
macro_rules! note {
    ($level:ident, $($text:tt)+) => { log::log!(log::Level::$level, $($text)+) };
}
pub(crate) use note;
