//! Moments, dates and lengths of time; nothing of them is rounded.

use std::sync::Arc;

use arrow_array::{ArrayRef, Date32Array, StringArray, TimestampMicrosecondArray, TimestampNanosecondArray};
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::{Builder, Cell, shown};
use crate::to_python::imported;

impl<'py> Builder<'_, 'py> {
    /// Numbers that a function of `firndb.moments` makes of values.
    pub(super) fn numbers(&self, cells: &[Cell<'py>], function: &'static str) -> PyResult<Vec<Option<i64>>> {
        let number = imported(self.py, "firndb.moments", function)?;
        self.each(cells, |_, value| number.call1((value,))?.extract())
    }

    pub(super) fn dates(&self, cells: &[Cell<'py>]) -> PyResult<ArrayRef> {
        let days = self.each(cells, |_, value| Ok(value.call_method0("toordinal")?.extract::<i32>()? - 719_163))?;
        Ok(Arc::new(Date32Array::from(days)))
    }

    /// Moments, of UTC if one of them has a zone; a date is its midnight.
    pub(super) fn moments(&self, cells: &[Cell<'py>]) -> PyResult<ArrayRef> {
        let py = self.py;
        let zoned = cells
            .iter()
            .flat_map(|cell| &cell.value)
            .any(|value| value.getattr_opt("tzinfo").ok().flatten().is_some_and(|zone| !zone.is_none()));
        let zone: Option<Arc<str>> = zoned.then(|| "UTC".into());
        let (number, moment) =
            (imported(py, "firndb.moments", "moment_number")?, imported(py, "datetime", "datetime")?);
        let micro = imported(py, "firndb.moments", "MICROSECOND")?;
        let (naive, utc) = (imported(py, "firndb.moments", "EPOCH")?, imported(py, "firndb.moments", "EPOCH_UTC")?);
        let mut fine = false;
        let micros = self.each(cells, |_, value| {
            if !value.get_type().is(&moment) {
                fine |= value.getattr_opt("nanosecond")?.is_some_and(|nanos| nanos.is_truthy().unwrap_or(false));
                return number.call1((value,))?.extract::<i64>();
            }
            let epoch = if value.getattr("tzinfo")?.is_none() { &naive } else { &utc };
            value.sub(epoch)?.floor_div(&micro)?.extract::<i64>()
        })?;
        if !fine {
            return Ok(Arc::new(TimestampMicrosecondArray::from(micros).with_timezone_opt(zone)));
        }
        let nanos = self.each(cells, |row, value| {
            let whole: i64 = number.call1((value,))?.extract()?;
            let rest: i64 = value.getattr_opt("nanosecond")?.map_or(Ok(0), |nanos| nanos.extract())?;
            let nanos = whole.checked_mul(1000).and_then(|nanos| nanos.checked_add(rest));
            nanos.ok_or_else(|| self.refused(row, format!("{} is too far from 1970 beside nanoseconds", shown(value))))
        })?;
        Ok(Arc::new(TimestampNanosecondArray::from(nanos).with_timezone_opt(zone)))
    }

    /// Times beside their spelling in ISO 8601: all as text, which the server reads.
    pub(super) fn spelled(&self, cells: &[Cell<'py>]) -> PyResult<ArrayRef> {
        let texts = self.each(cells, |_, value| match value.cast::<PyString>() {
            Ok(text) => text.extract::<String>(),
            Err(_) => value.call_method0("isoformat")?.extract::<String>(),
        })?;
        Ok(Arc::new(texts.into_iter().collect::<StringArray>()))
    }
}
