//! Which protocol a client speaks, by the first command that it sends: Flight SQL shares the port.
//!
//! A command of ours is a JSON object; one of Flight SQL is a protobuf `Any`, which names its type first.

use std::pin::Pin;

use arrow_flight::FlightDescriptor;
use prost::Message;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::streams::Messages;
use crate::refusal::unimplemented;

/// The beginning of the names of Flight SQL's commands.
const SQL: &str = "type.googleapis.com/arrow.flight.protocol.sql.";

/// How a client speaks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Our commands, or something that is refused like a wrong one.
    Native,
    /// Flight SQL, with this command.
    FlightSql(String),
}

/// A protobuf `Any`: <https://protobuf.dev/programming-guides/proto3/#any>.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

impl Protocol {
    /// Of a ticket, or of the command of a descriptor.
    pub(super) fn of(command: &[u8]) -> Self {
        // A line feed is also white space in front of JSON.
        let is_object = command.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        let any = if is_object { None } else { Any::decode(command).ok() };
        match any.and_then(|any| any.type_url.strip_prefix(SQL).map(str::to_owned)) {
            Some(command) => Self::FlightSql(command),
            None => Self::Native,
        }
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

    /// Refuses what is not served.
    pub(super) fn native(self) -> Result<(), Status> {
        match self {
            Self::Native => Ok(()),
            Self::FlightSql(command) => Err(unimplemented(format!(
                "this build does not serve Flight SQL ({command}); send a JSON command, such as {{\"lookup\":{{…}}}}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flight_sql_is_told_from_json_and_from_noise() {
        let any = |type_url: &str| Any { type_url: type_url.to_owned(), value: vec![1, 2, 3] }.encode_to_vec();
        let query = any("type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery");
        assert_eq!(Protocol::of(&query), Protocol::FlightSql("CommandStatementQuery".to_owned()));
        let refused = Protocol::of(&query).native().unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unimplemented);
        assert!(refused.message().contains("Flight SQL (CommandStatementQuery)"), "{refused}");
        let other = any("type.googleapis.com/google.protobuf.Duration");
        for native in [&b"\n {\"scan\":{}}"[..], b"{}", b"", b"SELECT 1", b"\n\xff", &other, &query[..20]] {
            assert_eq!(Protocol::of(native), Protocol::Native, "{native:?}");
        }
    }
}
