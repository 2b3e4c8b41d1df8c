//! The parser of type spellings: one function per form, over the bytes of the text.
//!
//! It takes what pyarrow prints (`list<item: double>`, `timestamp[us, tz=UTC]`) and what its aliases are (`float64`).
//! It is not a parser of Arrow's own Rust spelling.

use arrow_schema::{DataType, Field, TimeUnit};

use super::{FIXED_SIZE_MAX, PLAIN, TYPE_BYTES_MAX, TYPE_DEPTH_MAX, entries, item, print_type};
use crate::error::{Error, Result};

/// Other spellings of the types without parameters.
const ALIASES: [(&str, DataType); 14] = [
    ("boolean", DataType::Boolean),
    ("halffloat", DataType::Float16),
    ("float", DataType::Float32),
    ("double", DataType::Float64),
    ("string", DataType::Utf8),
    ("str", DataType::Utf8),
    ("large_string", DataType::LargeUtf8),
    ("string_view", DataType::Utf8View),
    ("bytes", DataType::Binary),
    ("date32", DataType::Date32),
    ("date", DataType::Date32),
    ("date64", DataType::Date64),
    ("half", DataType::Float16),
    ("half_float", DataType::Float16),
];

/// The longest name of a time zone or of a struct's field.
const NAME_BYTES_MAX: usize = 64;

/// The type that `text` spells.
pub fn parse_type(text: &str) -> Result<DataType> {
    if text.len() > TYPE_BYTES_MAX {
        return Err(Error::invalid(format!(
            "a type has {} bytes of text, at most {TYPE_BYTES_MAX} are allowed",
            text.len()
        )));
    }
    let mut parser = Parser { text, at: 0 };
    let parsed = parser.data_type(1).and_then(|data_type| parser.end().map(|()| data_type));
    parsed.map_err(|error| error.at(format!("type {text:?}")))
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn skip_spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches(' ').len();
    }

    fn accept(&mut self, token: &str) -> bool {
        self.skip_spaces();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Result<()> {
        if self.accept(token) {
            return Ok(());
        }
        Err(Error::invalid(format!("expected `{token}` at byte {}, found {}", self.at, self.found())))
    }

    fn found(&self) -> String {
        match self.rest().chars().next() {
            Some(found) => format!("`{found}`"),
            None => "the end".to_owned(),
        }
    }

    fn end(&mut self) -> Result<()> {
        self.skip_spaces();
        if self.rest().is_empty() {
            return Ok(());
        }
        Err(Error::invalid(format!("unexpected {} at byte {}", self.found(), self.at)))
    }

    /// The longest run of characters for which `belongs` holds.
    fn word(&mut self, belongs: fn(char) -> bool) -> &'a str {
        self.skip_spaces();
        let rest = self.rest();
        let length = rest.find(|c: char| !belongs(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn number<T: std::str::FromStr>(&mut self, what: &str) -> Result<T> {
        let word = self.word(|c| c.is_ascii_digit() || c == '-');
        word.parse().map_err(|_| Error::invalid(format!("`{word}` is no {what}")))
    }

    fn unit(&mut self, what: &str, accepted: &[TimeUnit]) -> Result<TimeUnit> {
        let word = self.word(|c| c.is_ascii_alphabetic());
        let found = accepted.iter().find(|unit| super::unit(**unit) == word);
        found.copied().ok_or_else(|| {
            let accepted: Vec<&str> = accepted.iter().map(|unit| super::unit(*unit)).collect();
            Error::invalid(format!("`{word}` is no unit of {what}; it takes {}", accepted.join(", ")))
        })
    }

    fn data_type(&mut self, depth: usize) -> Result<DataType> {
        if depth > TYPE_DEPTH_MAX {
            return Err(Error::invalid(format!("nested more than {TYPE_DEPTH_MAX} deep")));
        }
        self.skip_spaces();
        let start = self.at;
        let name = self.word(|c| c.is_ascii_alphanumeric() || c == '_');
        let data_type = self.named(name, depth)?;
        if let Some(data_type) = data_type {
            return Ok(data_type);
        }
        let rest: String = self.text.get(start..).unwrap_or("").chars().take(40).collect();
        let what = if start == 0 { "such type".to_owned() } else { format!("type {rest:?}") };
        Err(Error::invalid(format!(
            "FirnDB stores no {what}; types are spelled as pyarrow prints them, such as int64, float64, utf8, \
             timestamp[us, UTC], fixed_size_list<float32>[256]"
        )))
    }

    fn named(&mut self, name: &str, depth: usize) -> Result<Option<DataType>> {
        use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
        let all = [Second, Millisecond, Microsecond, Nanosecond];
        Ok(Some(match name {
            "date32" | "date64" => {
                let (data_type, unit) =
                    if name == "date32" { (DataType::Date32, "day") } else { (DataType::Date64, "ms") };
                if self.accept("[") {
                    self.expect(unit)?;
                    self.expect("]")?;
                }
                data_type
            }
            "time32" => DataType::Time32(self.in_brackets(|parser| parser.unit(name, &all[..2]))?),
            "time64" => DataType::Time64(self.in_brackets(|parser| parser.unit(name, &all[2..]))?),
            "duration" => DataType::Duration(self.in_brackets(|parser| parser.unit(name, &all))?),
            "timestamp" => self.in_brackets(|parser| {
                let unit = parser.unit("timestamp", &all)?;
                Ok(DataType::Timestamp(unit, parser.zone()?))
            })?,
            "fixed_size_binary" => DataType::FixedSizeBinary(self.in_brackets(|parser| parser.size("width"))?),
            "decimal" | "decimal32" | "decimal64" | "decimal128" | "decimal256" => self.decimal(name)?,
            "list" => DataType::List(item(self.list_item(depth)?)),
            "large_list" => DataType::LargeList(item(self.list_item(depth)?)),
            "fixed_size_list" => {
                let inner = item(self.list_item(depth)?);
                DataType::FixedSizeList(inner, self.in_brackets(|parser| parser.size("length"))?)
            }
            "struct" => self.structure(depth)?,
            "map" => self.map(depth)?,
            "dictionary" => self.dictionary(depth)?,
            "null" => return Ok(None),
            _ => {
                let plain = PLAIN.iter().find(|(_, plain)| *plain == name).map(|(data_type, _)| data_type);
                let alias = || ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, data_type)| data_type);
                return Ok(plain.or_else(alias).cloned());
            }
        }))
    }

    fn in_brackets<T>(&mut self, inside: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.expect("[")?;
        let value = inside(self)?;
        self.expect("]")?;
        Ok(value)
    }

    fn size(&mut self, what: &str) -> Result<i32> {
        let size: i32 = self.number(what)?;
        if (1..=FIXED_SIZE_MAX).contains(&size) {
            return Ok(size);
        }
        Err(Error::invalid(format!("a {what} is 1 to {FIXED_SIZE_MAX}, not {size}")))
    }

    fn zone(&mut self) -> Result<Option<std::sync::Arc<str>>> {
        if !self.accept(",") {
            return Ok(None);
        }
        self.accept("tz=");
        let zone = self.word(|c| c.is_ascii_alphanumeric() || "_+-/:".contains(c));
        if zone.is_empty() || zone.len() > NAME_BYTES_MAX {
            return Err(Error::invalid("expected a time zone such as UTC after the comma"));
        }
        Ok(Some(zone.into()))
    }

    fn decimal(&mut self, name: &str) -> Result<DataType> {
        self.expect("(")?;
        let precision: u8 = self.number("precision")?;
        let scale: i8 = if self.accept(",") { self.number("scale")? } else { 0 };
        self.expect(")")?;
        let (precision_max, make): (u8, fn(u8, i8) -> DataType) = match name {
            "decimal32" => (9, DataType::Decimal32),
            "decimal64" => (18, DataType::Decimal64),
            "decimal256" => (76, DataType::Decimal256),
            _ => (38, DataType::Decimal128),
        };
        if precision == 0 || precision > precision_max {
            return Err(Error::invalid(format!("the precision of {name} is 1 to {precision_max}, not {precision}")));
        }
        if scale < 0 || scale as u8 > precision {
            return Err(Error::invalid(format!("the scale is 0 to the precision {precision}, not {scale}")));
        }
        Ok(make(precision, scale))
    }

    /// `<item: type>` or `<type>`.
    fn list_item(&mut self, depth: usize) -> Result<DataType> {
        self.expect("<")?;
        let start = self.at;
        let _name = self.word(|c| c.is_ascii_alphanumeric() || c == '_');
        if !self.accept(":") {
            self.at = start;
        }
        let inner = self.data_type(depth + 1)?;
        self.refuse_not_null()?;
        self.expect(">")?;
        Ok(inner)
    }

    fn refuse_not_null(&mut self) -> Result<()> {
        if self.accept("not null") {
            return Err(Error::invalid("everything inside a nested type is nullable; leave out `not null`"));
        }
        Ok(())
    }

    fn structure(&mut self, depth: usize) -> Result<DataType> {
        self.expect("<")?;
        let mut fields: Vec<Field> = Vec::new();
        loop {
            let name = self.word(|c| c.is_alphanumeric() || "_-. ".contains(c)).trim_end();
            if name.is_empty() || name.len() > NAME_BYTES_MAX {
                return Err(Error::invalid(format!(
                    "expected the name of a field (letters, digits, `_`, `-`, `.`, at most {NAME_BYTES_MAX} bytes) at byte {}",
                    self.at
                )));
            }
            self.expect(":")?;
            let inner = self.data_type(depth + 1)?;
            self.refuse_not_null()?;
            if fields.iter().any(|field| field.name() == name) {
                return Err(Error::invalid(format!("the field `{name}` appears twice")));
            }
            fields.push(Field::new(name, inner, true));
            if !self.accept(",") {
                break;
            }
        }
        self.expect(">")?;
        Ok(DataType::Struct(fields.into()))
    }

    fn map(&mut self, depth: usize) -> Result<DataType> {
        self.expect("<")?;
        let key = self.data_type(depth + 1)?;
        if key.is_nested() {
            return Err(Error::invalid(format!("the key of a map is a plain type, not {}", print_type(&key))));
        }
        self.expect(",")?;
        let value = self.data_type(depth + 1)?;
        self.refuse_not_null()?;
        let sorted = self.accept(",") && {
            self.expect("keys_sorted")?;
            true
        };
        self.expect(">")?;
        Ok(DataType::Map(entries(key, value), sorted))
    }

    /// `<values=utf8, indices=int32>`, with pyarrow's `, ordered=0` if it is there.
    fn dictionary(&mut self, depth: usize) -> Result<DataType> {
        self.expect("<values=")?;
        let values = self.data_type(depth + 1)?;
        self.expect(",")?;
        self.expect("indices=")?;
        let indices = self.data_type(depth + 1)?;
        if self.accept(",") && !self.accept("ordered=0") {
            return Err(Error::invalid("a dictionary is unordered; write `ordered=0` or leave it out"));
        }
        self.expect(">")?;
        if !matches!(indices, DataType::Int32 | DataType::Int64 | DataType::UInt32 | DataType::UInt64) {
            return Err(Error::invalid(format!(
                "indices of {} are too few for an answer of many values; declare int32",
                print_type(&indices)
            )));
        }
        if values.is_nested() || values.is_temporal() || matches!(values, DataType::Boolean | DataType::Dictionary(..))
        {
            return Err(Error::invalid(format!(
                "a dictionary of {} is not stored; declare its values",
                print_type(&values)
            )));
        }
        Ok(DataType::Dictionary(Box::new(indices), Box::new(values)))
    }
}
