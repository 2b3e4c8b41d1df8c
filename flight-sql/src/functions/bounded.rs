//! Functions whose answer is as large as a number says, or as two texts multiplied: what they would take is reckoned before they
//! are run, also where the optimizer runs them on constants, which no limit of a query reaches.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, IntervalMonthDayNanoType};
use arrow_array::{Array, ArrayRef};
use arrow_cast::cast;
use arrow_schema::{DataType, FieldRef, IntervalUnit, TimeUnit};
use datafusion::error::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use firn_storage::error::Error;

use crate::error::through;

/// What an answer grows with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Growth {
    /// The text, as many times as the number after it says.
    Repeated,
    /// The number of characters that is the second argument.
    Padded,
    /// The number of elements that the argument at this place says.
    Elements(usize),
    /// From the first to the second in steps of the third.
    Range,
    /// The text, each of whose characters may become the argument at this place.
    Replaced(usize),
}

/// An element of a list takes about so much.
const ELEMENT_BYTES: u64 = 16;
const NANOS_A_DAY: i128 = 86_400_000_000_000;

/// `function`, bounded by `bytes_max` if its answer grows.
pub(super) fn bounded(function: Arc<ScalarUDF>, bytes_max: u64) -> Arc<ScalarUDF> {
    let growth = match function.name() {
        "repeat" => Growth::Repeated,
        "lpad" | "rpad" => Growth::Padded,
        "array_repeat" | "array_resize" => Growth::Elements(1),
        "range" | "generate_series" => Growth::Range,
        "replace" | "regexp_replace" => Growth::Replaced(2),
        "array_to_string" => Growth::Replaced(1),
        _ => return function,
    };
    Arc::new(ScalarUDF::from(Bounded { inner: function, growth, bytes_max }))
}

/// A function with its bound.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
    bytes_max: u64,
}

impl Bounded {
    /// Refuses what would take too much.
    fn check(&self, arguments: &ScalarFunctionArgs) -> Result<()> {
        let scalars = arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if scalars { 1 } else { arguments.number_rows };
        let arrays =
            arguments.args.iter().map(|argument| argument.clone().into_array(rows)).collect::<Result<Vec<_>>>()?;
        let bytes = (0..rows).try_fold(0_u64, |bytes, row| bytes.checked_add(self.bytes(&arrays, row)));
        match bytes {
            Some(bytes) if bytes <= self.bytes_max => Ok(()),
            _ => Err(through(Error::exhausted(format!(
                "the answer of {} would take more than {} bytes, a fourth of what a query may have (sql-query-bytes-max): ask \
                 for less at once",
                self.inner.name(),
                self.bytes_max
            )))),
        }
    }

    /// About how many bytes the answer for `row` takes.
    fn bytes(&self, arguments: &[ArrayRef], row: usize) -> u64 {
        let length = |place: usize| arguments.get(place).map_or(0, |array| text_bytes(array, row));
        let number = |place: usize| arguments.get(place).and_then(|array| whole(array, row)).unwrap_or(0);
        let count = |place: usize| u64::try_from(number(place)).unwrap_or(0);
        match self.growth {
            Growth::Repeated => length(0).saturating_mul(count(1)),
            Growth::Padded => count(1).saturating_mul(4),
            Growth::Elements(place) => count(place).saturating_mul(ELEMENT_BYTES),
            Growth::Range => {
                let (first, last) = if arguments.len() == 1 { (0, number(0)) } else { (number(0), number(1)) };
                let step = arguments.get(2).and_then(|array| whole(array, row)).unwrap_or(1).unsigned_abs().max(1);
                let elements = first.abs_diff(last) / step;
                u64::try_from(elements).unwrap_or(u64::MAX).saturating_mul(ELEMENT_BYTES)
            }
            // A guess from above: most characters stay as they are.
            Growth::Replaced(place) => length(0).saturating_add(1).saturating_mul(length(place)) / 16,
        }
    }
}

/// The bytes of a text, or the elements of a list.
fn text_bytes(array: &ArrayRef, row: usize) -> u64 {
    let length = match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value_length(row) as usize,
        DataType::LargeList(_) => array.as_list::<i64>().value_length(row) as usize,
        _ => match cast(&array.slice(row, 1), &DataType::LargeUtf8) {
            Ok(text) => text.as_string::<i64>().value(0).len(),
            Err(_) => 0,
        },
    };
    length as u64
}

/// A number, a time or a step between times as a whole number: of nanoseconds, if it is of time.
fn whole(array: &ArrayRef, row: usize) -> Option<i128> {
    let one = array.slice(row, 1);
    if one.is_null(0) {
        return None;
    }
    if let DataType::Interval(_) = one.data_type() {
        let step = cast(&one, &DataType::Interval(IntervalUnit::MonthDayNano)).ok()?;
        let step = step.as_primitive::<IntervalMonthDayNanoType>().value(0);
        let days = i128::from(step.months) * 28 + i128::from(step.days);
        return Some(days * NANOS_A_DAY + i128::from(step.nanoseconds));
    }
    let one = match one.data_type() {
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => {
            // Years that nanoseconds do not reach are reckoned in microseconds.
            let nanos =
                cast(&one, &DataType::Timestamp(TimeUnit::Nanosecond, None)).ok().filter(|nanos| nanos.is_valid(0));
            match nanos {
                Some(nanos) => nanos,
                None => {
                    let micros = cast(&one, &DataType::Timestamp(TimeUnit::Microsecond, None)).ok()?;
                    let micros = cast(&micros, &DataType::Int64).ok()?;
                    return Some(i128::from(micros.as_primitive::<Int64Type>().value(0)) * 1000);
                }
            }
        }
        _ => one,
    };
    let number = cast(&one, &DataType::Int64).ok()?;
    number.is_valid(0).then(|| i128::from(number.as_primitive::<Int64Type>().value(0)))
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.inner().return_field_from_args(arguments)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&arguments)?;
        self.inner.inner().invoke_with_args(arguments)
    }

    fn simplify(&self, arguments: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.inner().simplify(arguments, context)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.inner().coerce_types(arguments)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}
