//! The kind of a row, and its number on disk.

/// What a row does. The numbers are those on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RowKind {
    /// Writes cells.
    Write = 0,
    /// Ends the entity from its event time on.
    Delete = 1,
    /// Takes back one identity (or, with a null row id, the delete at its event time).
    Retract = 2,
    /// Takes back named cells of one identity.
    RetractCells = 3,
}

impl RowKind {
    /// The kind that `number` stands for on disk.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Write),
            1 => Some(Self::Delete),
            2 => Some(Self::Retract),
            3 => Some(Self::RetractCells),
            _ => None,
        }
    }
}
