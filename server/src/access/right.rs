//! Rights: a closed list, one word each. What is not held is denied.

use std::fmt;

macro_rules! rights {
    ($($right:ident $name:literal $meaning:literal)+) => {
        /// What somebody may be allowed to do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Right {
            $(#[doc = $meaning] $right,)+
        }

        impl Right {
            /// Every right.
            pub const ALL: &[Self] = &[$(Self::$right),+];

            /// Its word.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$right => $name,)+
                }
            }
        }
    };
}

rights! {
    Describe "describe" "See that something is declared, and how."
    Read "read" "Read what features are, or were."
    History "history" "Read every row, also those that were corrected, retracted or deleted."
    Write "write" "Write rows."
    Delete "delete" "Delete entities and retract rows."
    Erase "erase" "Remove entities physically, at all bounds."
    Alter "alter" "Change what is declared."
    Drop "drop" "Remove what is declared, with its rows."
    Create "create" "Declare."
    Operate "operate" "Look after the server: status, flush, compaction."
    Audit "audit" "Read who did what, and who may do what."
    Grant "grant" "Change who may do what."
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights(u16);

impl Rights {
    /// Every right.
    pub fn all() -> Self {
        Right::ALL.iter().fold(Self::none(), |rights, right| Self(rights.0 | Self::bit(*right)))
    }

    /// No right.
    pub fn none() -> Self {
        Self(0)
    }

    /// These but for `right`.
    pub fn without(self, right: Right) -> Self {
        Self(self.0 & !Self::bit(right))
    }

    /// Whether `right` is among them.
    pub fn hold(self, right: Right) -> bool {
        self.0 & Self::bit(right) != 0
    }

    fn bit(right: Right) -> u16 {
        1 << right as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_that_is_taken_away_is_the_only_one_missing() {
        for taken in Right::ALL {
            for right in Right::ALL {
                assert_eq!(Rights::all().without(*taken).hold(*right), right != taken);
                assert!(!Rights::none().hold(*right));
            }
        }
    }
}
