//! Which protocol a client speaks, by the first command that it sends: Flight SQL shares the port.
//!
//! A command of ours is a JSON object; one of Flight SQL is a protobuf `Any`, which names its type first.

use std::pin::Pin;

use arrow_flight::FlightDescriptor;
use bytes::Bytes;
use firn_flight_sql::service::is_flight_sql;
use tokio_util::sync::CancellationToken;

use super::streams::Messages;

/// How a client speaks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Our commands, or something that is refused like a wrong one.
    Native,
    /// Flight SQL, with this command.
    FlightSql(Bytes),
}

impl Protocol {
    /// Of a ticket, or of the command of a descriptor.
    pub(super) fn of(command: &Bytes) -> Self {
        // A line feed is also white space in front of JSON.
        let is_object = command.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        if !is_object && is_flight_sql(command) { Self::FlightSql(command.clone()) } else { Self::Native }
    }

    /// Of a descriptor.
    pub(super) fn of_descriptor(descriptor: &FlightDescriptor) -> Self {
        Self::of(&descriptor.cmd)
    }

    /// Of a stream, whose first message is waited for and stays where it is.
    pub(super) async fn of_stream(messages: &mut Messages, stopping: &CancellationToken) -> Self {
        let peeking = Pin::new(messages).peek();
        let first = tokio::select! {
            first = peeking => first,
            () = stopping.cancelled() => None,
        };
        let descriptor = first.and_then(|first| first.as_ref().ok()?.flight_descriptor.as_ref());
        descriptor.map_or(Self::Native, Self::of_descriptor)
    }
}

#[cfg(test)]
mod tests {
    use arrow_flight::sql::Any;
    use prost::Message;

    use super::*;

    #[test]
    fn flight_sql_is_told_from_json_and_from_noise() {
        let any = |type_url: &str| {
            let any = Any { type_url: type_url.to_owned(), value: Bytes::from_static(&[1, 2, 3]) };
            Bytes::from(any.encode_to_vec())
        };
        let query = any("type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery");
        assert_eq!(Protocol::of(&query), Protocol::FlightSql(query.clone()));
        let other = any("type.googleapis.com/google.protobuf.Duration");
        for native in [&b"\n {\"scan\":{}}"[..], b"{}", b"", b"SELECT 1", b"\n\xff", &other, &query[..20]] {
            assert_eq!(Protocol::of(&Bytes::copy_from_slice(native)), Protocol::Native, "{native:?}");
        }
    }
}
