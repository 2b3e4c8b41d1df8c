//! Decoding the messages of one stream: where they came in, unless they are large.
//!
//! It keeps the decoder's state from message to message. It knows nothing of what the messages are for.

use std::sync::Arc;

use tonic::Status;

use super::resources::{Pool, Resources};
use crate::framing::Decoder;
use crate::refusal::invalid;

/// Messages above this size are decoded on a thread of their own.
const INLINE_BYTES_MAX: usize = 1 << 20;

/// The decoder of a stream.
pub(super) struct Decoding {
    resources: Arc<Resources>,
    /// None while it works on another thread, and after it was lost there.
    decoder: Option<Decoder>,
}

impl Decoding {
    /// At the start of a stream.
    pub(super) fn new(resources: &Arc<Resources>) -> Self {
        Self { decoder: Some(Decoder::new(Arc::clone(&resources.limits))), resources: Arc::clone(resources) }
    }

    /// Runs `work`, which decodes messages whose bodies have `bytes` together.
    pub(super) async fn run<T: Send + 'static>(
        &mut self,
        bytes: usize,
        work: impl FnOnce(&mut Decoder) -> Result<T, Status> + Send + 'static,
    ) -> Result<T, Status> {
        let failed = || invalid("the stream has already failed");
        if bytes <= INLINE_BYTES_MAX {
            return work(self.decoder.as_mut().ok_or_else(failed)?);
        }
        let mut decoder = self.decoder.take().ok_or_else(failed)?;
        let working = self.resources.blocking(Pool::Readers, move || {
            let worked = work(&mut decoder);
            Ok((decoder, worked))
        });
        let (decoder, worked) = working.await?;
        self.decoder = Some(decoder);
        worked
    }
}
