//! A channel that was made through the API and can no longer work as it is stored: a file that it needs is gone, or a
//! later version has other rules. What is for it waits until somebody mends it.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use super::channel::{Channel, Message, Receipt, SendError};

/// Takes nothing.
#[derive(Debug)]
pub(super) struct Unbuildable {
    /// One sentence without a full stop, and without secrets.
    pub(super) why: String,
}

impl Channel for Unbuildable {
    fn send<'a>(&'a self, _: &'a Message) -> BoxFuture<'a, Result<Receipt, SendError>> {
        ready(Err(SendError::lasting(self.why.clone()))).boxed()
    }
}
