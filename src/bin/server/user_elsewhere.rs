//! The user that the server becomes: on Linux alone.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::Path;

/// There is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity(Infallible);

pub(crate) fn parse(_text: &str) -> Result<Identity, String> {
    Err("this system's servers keep the user that starts them".to_owned())
}

impl Identity {
    pub(crate) fn acting<T>(&self, _act: impl FnOnce() -> T) -> Result<T, String> {
        match self.0 {}
    }

    pub(crate) fn become_for_ever(&self) -> Result<(), String> {
        match self.0 {}
    }

    pub(crate) fn own(&self, _path: &Path) -> io::Result<()> {
        match self.0 {}
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}
