//! Actions of Flight SQL: statements that are prepared, sessions, queries that are ended.

use arrow_flight::sql::ProstMessageExt;
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionCreatePreparedStatementRequest, Any, Command,
};
use arrow_flight::{Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo};
use bytes::Bytes;
use firn_storage::error::Result;
use prost::Message;

use super::handle::Handle;
use super::{FlightSql, not_served, options, read, statement};
use crate::door::Caller;
use crate::error::{invalid, unsupported};

/// The actions of Flight SQL, and what they do. Those that are refused with a reason do nothing.
const ACTIONS: &[(&str, Option<&str>)] = &[
    ("BeginSavepoint", None),
    ("BeginTransaction", None),
    ("CancelFlightInfo", Some("Ends the queries of a FlightInfo: CancelFlightInfoRequest")),
    ("CancelQuery", Some("The same, as older clients ask for it: ActionCancelQueryRequest")),
    ("ClosePreparedStatement", Some("Forgets a prepared statement: ActionClosePreparedStatementRequest")),
    ("CloseSession", Some("Ends the session: CloseSessionRequest")),
    ("CreatePreparedStatement", Some("Prepares a statement of SQL: ActionCreatePreparedStatementRequest")),
    ("CreatePreparedSubstraitPlan", None),
    ("EndSavepoint", None),
    ("EndTransaction", None),
    ("GetSessionOptions", Some("What the session says: GetSessionOptionsRequest")),
    ("SetSessionOptions", Some("Sets firn.as_of, firn.known_at and the like: SetSessionOptionsRequest")),
];

impl FlightSql {
    /// Whether an action is one of Flight SQL.
    pub fn has_action(name: &str) -> bool {
        ACTIONS.iter().any(|(action, _)| *action == name)
    }

    /// The actions that are served, and what they do.
    pub fn actions() -> impl Iterator<Item = (&'static str, &'static str)> {
        ACTIONS.iter().filter_map(|(action, help)| Some((*action, (*help)?)))
    }

    /// Answers an action.
    pub async fn act(&self, caller: &Caller, action: &Action) -> Result<Vec<Bytes>> {
        let answer = match action.r#type.as_str() {
            "CreatePreparedStatement" => match read(&action.body)? {
                Command::ActionCreatePreparedStatementRequest(request) => {
                    let (this, caller) = (self.clone(), caller.clone());
                    self.sql.lanes.small.call(async move { this.prepare(&caller, &request).await }).await?
                }
                other => return Err(not_served(&other)),
            },
            // A handle says everything, and nothing is kept for it.
            "ClosePreparedStatement" => return Ok(Vec::new()),
            "CloseSession" => options::close(caller).encode_to_vec(),
            "SetSessionOptions" => options::set(caller, &message(&action.body)?)?.encode_to_vec(),
            "GetSessionOptions" => options::get(caller).encode_to_vec(),
            "CancelFlightInfo" => {
                let CancelFlightInfoRequest { info } = message(&action.body)?;
                let ended = info.is_some_and(|info| self.cancel(&info));
                CancelFlightInfoResult { status: status(ended) }.encode_to_vec()
            }
            "CancelQuery" => self.cancel_query(&action.body)?,
            "CreatePreparedSubstraitPlan" => {
                return Err(unsupported("plans of Substrait are not served: send SQL"));
            }
            _ => {
                return Err(unsupported(
                    "transactions are not served: each statement is atomic, and reads with one firn.position agree",
                ));
            }
        };
        Ok(vec![answer.into()])
    }

    async fn prepare(&self, caller: &Caller, request: &ActionCreatePreparedStatementRequest) -> Result<Vec<u8>> {
        let result = statement::prepare(&self.sql, caller, request).await?;
        Ok(Any { type_url: statement::PREPARED_RESULT.to_owned(), value: result.encode_to_vec().into() }
            .encode_to_vec())
    }

    /// Ends what runs for `info`; whether there was something.
    fn cancel(&self, info: &FlightInfo) -> bool {
        let tickets = info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref());
        let handles = tickets.filter_map(|ticket| match read(&ticket.ticket) {
            Ok(Command::TicketStatementQuery(ticket)) => Handle::read(&ticket.statement_handle).ok(),
            _ => None,
        });
        handles.map(|handle| self.sql.running.cancel(handle.run)).fold(false, |some, ended| some | ended)
    }

    fn cancel_query(&self, body: &[u8]) -> Result<Vec<u8>> {
        let Command::ActionCancelQueryRequest(ActionCancelQueryRequest { info }) = read(body)? else {
            return Err(invalid("the body of CancelQuery is no ActionCancelQueryRequest"));
        };
        let ended = self.cancel(&message(&info)?);
        Ok(ActionCancelQueryResult { result: status(ended) }.as_any().encode_to_vec())
    }
}

/// Whether something was ended, as Flight and Flight SQL both say it.
fn status(ended: bool) -> i32 {
    let status = if ended { CancelStatus::Cancelled } else { CancelStatus::NotCancellable };
    status.into()
}

/// A message of Flight, by itself or in an envelope.
fn message<M: Message + Default>(body: &[u8]) -> Result<M> {
    let unwrapped = Any::decode(body).ok().filter(|any| any.type_url.starts_with("type.googleapis.com/"));
    let body = unwrapped.map_or_else(|| Bytes::copy_from_slice(body), |any| any.value);
    M::decode(body).map_err(|error| invalid(format!("the body of the action cannot be read: {error}")))
}
