//! Scans: a table in parts that may be read in parallel, all of one position, clock and schema version.

use arrow_flight::{FlightDescriptor, FlightInfo, Ticket};
use arrow_schema::Schema;

use crate::connection::Stub;
use crate::error::{Error, Result};
use crate::exchange::Answers;
use crate::wire::{Command, Scan};

/// A scan that the server has divided into parts.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The columns of every part.
    pub schema: Schema,
    tickets: Vec<Ticket>,
}

impl Parts {
    /// Asks for the parts of `scan`.
    pub(crate) async fn ask(mut stub: Stub, scan: Scan) -> Result<Self> {
        let descriptor = FlightDescriptor::new_cmd(Command::Scan(scan).encode());
        let info: FlightInfo = stub.get_flight_info(descriptor).await?.into_inner();
        let tickets = info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.clone()).collect();
        let schema = info.try_decode_schema().map_err(Error::unreadable)?;
        Ok(Self { schema, tickets })
    }

    /// How many parts there are.
    pub fn len(&self) -> usize {
        self.tickets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    /// The ticket of a part, counted from 0.
    pub(crate) fn ticket(&self, part: usize) -> Result<Ticket> {
        let unknown = || Error::invalid(format!("there is no part {part}; the scan has {}", self.len()));
        self.tickets.get(part).cloned().ok_or_else(unknown)
    }
}

/// The answer to a ticket.
pub(crate) async fn get(mut stub: Stub, ticket: Ticket) -> Result<Answers> {
    Ok(Answers::new(stub.do_get(ticket).await?.into_inner()))
}
