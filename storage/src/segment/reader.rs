//! Opens a segment as a run, with its cells in the file or away.
//!
//! Opening checks the length, the header, the footer, and what every read needs (the steps and their zones, named
//! retractions); columns and per-row sections are only found to lie within the file and to have the right lengths.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, ScalarBuffer};
use arrow_schema::DataType;

use crate::block_list::{BlockList, check_length};
use crate::checksum::checksum64;
use crate::column::{Column, Fixed, Packed, Presence, fixed_width};
use crate::error::{Error, Kind, Result};
use crate::ice::{Fetch, IceFile};
use crate::io::region::{Arrivals, Region};
use crate::io::{Access, Comes, Files};
use crate::objects::ObjectName;
use crate::rows::{RowIds, Rows, STEP_ZONE_ROWS, Steps};
use crate::run::{Chunk, Run};
use crate::segment::away::Away;
use crate::segment::checks::{BLOCK_BYTES, BlockChecks, Checks, Elements, PlaceSection, RowSections, footer_bytes_max};
use crate::segment::directory::{Directory, Ordinals, RANK_WORDS};
use crate::segment::format::{Footer, HEADER_BYTES, Refused, Section, SectionKind, TAIL_BYTES, header, read_tail};
use crate::segment::mapped::{FixedStorage, Mapped, StretchStorage};
use crate::segment::{SegmentMeta, file_name};

/// Opens the segment that `meta` describes.
pub fn open(files: &Arc<dyn Files>, meta: &SegmentMeta) -> Result<Run> {
    let opening = opening(files, meta)?;
    if opening.footer.sections.iter().any(|section| section.away) {
        return Err(Error::corrupt(&file_name(meta.number), 0, "its cells are away, which the manifest does not say"));
    }
    opening.run()
}

/// Opens the rows part that `meta` describes, whose cells are in the object `ice` and come through `fetch`.
pub(crate) fn open_away(
    files: &Arc<dyn Files>,
    meta: &SegmentMeta,
    ice: ObjectName,
    fetch: &Arc<Fetch>,
) -> Result<Run> {
    opening(files, meta)?.with(ice, fetch)?.run()
}

/// Opens the rows part that `meta` describes, without its cells.
pub(crate) fn open_rows(files: &Arc<dyn Files>, meta: &SegmentMeta) -> Result<Run> {
    let mut opening = opening(files, meta)?;
    opening.footer.features.clear();
    opening.run()
}

/// The segment that `meta` describes, of which nothing but the footer was looked at.
pub(super) fn opening(files: &Arc<dyn Files>, meta: &SegmentMeta) -> Result<Opening> {
    let name = file_name(meta.number);
    let coming = files.coming(&name);
    let bytes = Buffer::from(files.map(&name, meta.length, Access::Ordered)?);
    let read = |offset: u64, count: u64| {
        coming.iter().try_for_each(|coming| coming.wait(offset..offset + count))?;
        Ok(Cow::Borrowed(&bytes[offset as usize..(offset + count) as usize]))
    };
    let (footer, covered) = read_footer(&name, bytes.len() as u64, &read)?;
    if footer.meta != *meta {
        return Err(Error::corrupt(&name, 0, "it is another segment than the manifest says"));
    }
    Opening::new(name, bytes.slice_with_length(0, covered as usize), footer, coming)
}

/// What the file of segment `number` says of itself; for mending a database whose manifest is lost.
pub fn describe(files: &Arc<dyn Files>, number: u64) -> Result<SegmentMeta> {
    let name = file_name(number);
    let bytes = Buffer::from(files.map(&name, files.length(&name)?, Access::Ordered)?);
    let read = |offset: u64, count: u64| Ok(Cow::Borrowed(&bytes[offset as usize..(offset + count) as usize]));
    let meta = read_footer(&name, bytes.len() as u64, &read)?.0.meta;
    if meta.number != number {
        return Err(Error::corrupt(&name, 0, "it is another segment than its name says"));
    }
    Ok(meta)
}

/// The blocks of the segment that `meta` describes, without mapping it.
pub(crate) fn block_list(files: &dyn Files, meta: &SegmentMeta) -> Result<BlockList> {
    let name = file_name(meta.number);
    check_length(files, &name, meta.length)?;
    let read = |offset: u64, count: u64| {
        let mut bytes = vec![0; count as usize];
        files.read_at(&name, offset, &mut bytes).map(|()| Cow::Owned(bytes))
    };
    let (footer, covered) = read_footer(&name, meta.length, &read)?;
    if footer.meta != *meta {
        return Err(Error::corrupt(&name, 0, "it is another segment than the manifest says"));
    }
    if footer.checksums.len() as u64 != covered.div_ceil(BLOCK_BYTES) {
        return Err(Error::corrupt(&name, covered, "the footer does not list one checksum per block"));
    }
    Ok(BlockList { name, covered, checksums: footer.checksums })
}

/// Gives `count` bytes at an offset that the file has.
type Read<'a> = dyn Fn(u64, u64) -> Result<Cow<'a, [u8]>> + 'a;

/// The footer, with the length of the file and the checksum in its `meta`, and where it starts.
fn read_footer(name: &str, length: u64, read: &Read<'_>) -> Result<(Footer, u64)> {
    let damaged = |offset: u64, what: &str| Error::corrupt(name, offset, what);
    let tail_start = length.checked_sub(TAIL_BYTES).filter(|&start| start >= HEADER_BYTES);
    let tail_start = tail_start.ok_or_else(|| damaged(0, "it is too short for a segment"))?;
    let (footer_length, footer_crc) =
        read_tail(&read(tail_start, TAIL_BYTES)?).ok_or_else(|| damaged(tail_start, "it does not end as a segment"))?;
    let footer_start = tail_start.checked_sub(footer_length).filter(|&start| start >= HEADER_BYTES);
    let footer_start = footer_start.filter(|&start| footer_length <= footer_bytes_max(start));
    let footer_start = footer_start.ok_or_else(|| damaged(tail_start, "the footer does not fit the file"))?;
    let footer_bytes = read(footer_start, footer_length)?;
    if checksum64(&footer_bytes) != footer_crc {
        return Err(damaged(footer_start, "the checksum of the footer does not match"));
    }
    let mut footer = Footer::decode(&footer_bytes, footer_start).map_err(|refused| match refused {
        Refused::Damaged(what) => damaged(footer_start, what),
        Refused::Newer(what) => {
            Error::new(Kind::Precondition, format!("file {name} was written by a newer FirnDB: it has {what}"))
        }
    })?;
    if *read(0, HEADER_BYTES)? != header(footer.meta.number) {
        return Err(damaged(0, "the header does not fit the footer"));
    }
    if !footer.sort_sections() {
        return Err(damaged(footer_start, "a section is there twice"));
    }
    (footer.meta.length, footer.meta.footer_crc) = (length, footer_crc);
    Ok((footer, footer_start))
}

/// A segment that is being opened.
pub(super) struct Opening {
    pub(super) footer: Footer,
    /// Header and sections.
    pub(super) bytes: Buffer,
    pub(super) blocks: Arc<BlockChecks>,
    /// Where cells that are away come from, and where those of fixed width arrive.
    ice: Option<(Arc<IceFile>, Region)>,
}

impl Opening {
    fn new(name: String, bytes: Buffer, footer: Footer, coming: Option<Arc<dyn Comes>>) -> Result<Self> {
        let checksums = footer.checksums.clone();
        let blocks = BlockChecks::new(name.clone(), bytes.clone(), checksums, coming);
        let unlisted = || Error::corrupt(&name, bytes.len() as u64, "the footer does not list one checksum per block");
        let blocks = Arc::new(blocks.ok_or_else(unlisted)?);
        Ok(Self { footer, bytes, blocks, ice: None })
    }

    /// The same, with cells that come from the object `ice`.
    fn with(mut self, ice: ObjectName, fetch: &Arc<Fetch>) -> Result<Self> {
        let away = self.footer.sections.iter().filter(|section| section.away);
        let region = Region::new(away.map(|section| section.offset + section.length).max().unwrap_or(0))?;
        let length = self.footer.section(SectionKind::Ice, 0).map_or(0, |section| section.length);
        let description: Elements<u8> = self.part(SectionKind::Ice, 0, length as usize)?;
        self.blocks.bytes(description.all())?;
        let file = IceFile::new(ice, description.values.into_inner(), Arc::clone(fetch));
        self.ice = Some((Arc::new(file), region));
        Ok(self)
    }

    fn run(self) -> Result<Run> {
        let meta = &self.footer.meta;
        let rows = meta.rows as usize;
        let row_sections = self.row_sections()?;
        let row_ids = row_sections.row_ids.as_ref();
        let row_ids =
            row_ids.map(|(offsets, bytes)| RowIds::from_parts(offsets.values.clone(), bytes.values.inner().clone()));
        let mut build = Rows {
            directory: self.directory()?,
            event_times: row_sections.event_times.values.clone(),
            row_steps: row_sections.row_steps.values.clone(),
            steps: self.steps()?,
            places: row_sections.places.values(),
            kinds: row_sections.kinds.as_ref().map(|kinds| kinds.values.clone()),
            row_ids,
            retracted: self.retracted()?,
            lead_max: meta.lead_max,
            event_time_range: (meta.event_time_min, meta.event_time_max),
            step_zones: self.checked(SectionKind::StepZones, rows.div_ceil(STEP_ZONE_ROWS as usize))?,
            checks: None,
        };
        let checks = Checks::new(Arc::clone(&self.blocks), row_sections);
        let columns = self.footer.features.iter().map(|(feature, of)| self.column(*feature, of, &checks));
        let chunk = Chunk { columns: columns.collect::<Result<_>>()? };
        build.checks = Some(checks);
        let ice = self.ice.as_ref().map(|(ice, _)| Arc::clone(ice));
        Ok(Run { rows: build, chunks: vec![Arc::new(chunk)], origins: None, segment: Some(meta.number), ice })
    }

    fn row_sections(&self) -> Result<RowSections> {
        let rows = self.footer.meta.rows as usize;
        let kinds = match self.footer.section(SectionKind::Kinds, 0) {
            None => None,
            Some(_) => Some(self.part(SectionKind::Kinds, 0, rows)?),
        };
        let row_ids = match self.footer.section(SectionKind::RowIdBytes, 0) {
            None => None,
            Some(section) => {
                let bytes = self.part(SectionKind::RowIdBytes, 0, section.length as usize)?;
                Some((self.part(SectionKind::RowIdOffsets, 0, rows + 1)?, bytes))
            }
        };
        Ok(RowSections {
            rows: self.footer.meta.rows,
            steps: self.footer.steps,
            event_times: self.part(SectionKind::EventTimes, 0, rows)?,
            row_steps: self.part(SectionKind::RowSteps, 0, rows)?,
            places: self.places(rows)?,
            kinds,
            row_ids,
        })
    }

    fn directory(&self) -> Result<Directory> {
        let meta = &self.footer.meta;
        let (first, last, entities) = (meta.ordinal_min, meta.ordinal_max, meta.entities as usize);
        let starts = if meta.entities == meta.rows { None } else { Some(self.starts(entities)?) };
        let ordinals = if self.footer.section(SectionKind::OrdinalBits, 0).is_some() {
            let words = (u64::from(last.saturating_sub(first)) + 1).div_ceil(64) as usize;
            Ordinals::Bitmap {
                words: self.part(SectionKind::OrdinalBits, 0, words)?,
                ranks: self.part(SectionKind::OrdinalRanks, 0, words.div_ceil(RANK_WORDS))?,
            }
        } else {
            Ordinals::Sorted(self.part(SectionKind::Ordinals, 0, entities)?)
        };
        Directory::from_parts(ordinals, starts, meta.entities, (first, last))
            .ok_or_else(|| self.blocks.damaged(0, "the parts of the directory do not fit one another"))
    }

    /// Where the rows of each of the entities start.
    fn starts(&self, entities: usize) -> Result<Elements<u32>> {
        let starts: Elements<u32> = self.part(SectionKind::Starts, 0, entities + 1)?;
        // The number of rows closes the last range, so every question relies on it.
        self.blocks.bytes(starts.bytes(entities..entities + 1))?;
        if starts.values[entities] != self.footer.meta.rows {
            return Err(self.blocks.damaged(starts.offset, "the directory is of another number of rows"));
        }
        Ok(starts)
    }

    /// The places of rows, in two bytes each if that is how long the section is.
    fn places(&self, rows: usize) -> Result<PlaceSection> {
        let narrow = |section: &Section| section.length == rows as u64 * 2;
        if self.footer.section(SectionKind::Places, 0).is_some_and(narrow) {
            return Ok(PlaceSection::Narrow(self.part(SectionKind::Places, 0, rows)?));
        }
        Ok(PlaceSection::Wide(self.part(SectionKind::Places, 0, rows)?))
    }

    fn steps(&self) -> Result<Steps> {
        let count = self.footer.steps as usize;
        let sequences: ScalarBuffer<u64> = self.checked(SectionKind::StepSequences, count)?;
        let ingest_times: ScalarBuffer<i64> = self.checked(SectionKind::StepIngestTimes, count)?;
        if !sequences.is_sorted_by(|a, b| a < b) || !ingest_times.is_sorted() {
            let offset = self.footer.section(SectionKind::StepSequences, 0).map_or(0, |section| section.offset);
            return Err(self.blocks.damaged(offset, "the commits are out of order"));
        }
        Ok(Steps { sequences, ingest_times })
    }

    fn retracted(&self) -> Result<Vec<(u32, Vec<u32>)>> {
        let Some(section) = self.footer.section(SectionKind::Retracted, 0) else {
            return Ok(Vec::new());
        };
        let words: ScalarBuffer<u32> = self.checked(SectionKind::Retracted, section.length as usize / 4)?;
        let mut retracted: Vec<(u32, Vec<u32>)> = Vec::new();
        let mut rest = &words[..];
        while let &[row, count, ref after @ ..] = rest {
            let features = after.split_at_checked(count as usize);
            let ordered = retracted.last().is_none_or(|(last, _)| *last < row) && row < self.footer.meta.rows;
            let Some((features, after)) = features.filter(|_| ordered) else {
                return Err(self.blocks.damaged(section.offset, "the list of retracted cells makes no sense"));
            };
            retracted.push((row, features.to_vec()));
            rest = after;
        }
        if !rest.is_empty() {
            return Err(self.blocks.damaged(section.offset, "the list of retracted cells makes no sense"));
        }
        Ok(retracted)
    }

    fn column(&self, feature: u32, data_type: &DataType, checks: &Checks) -> Result<Column> {
        let rows = self.footer.meta.rows;
        let find = |kind| self.footer.section(kind, feature);
        let values =
            find(SectionKind::Strip).or_else(|| find(SectionKind::Values)).or_else(|| find(SectionKind::Stretches));
        let values = *values.ok_or_else(|| self.blocks.damaged(0, &format!("feature {feature} has no values")))?;
        let presence = match find(SectionKind::Present) {
            None => Presence::Dense,
            Some(_) => {
                let words = u64::from(rows).div_ceil(64) as usize;
                Presence::Packed(Packed {
                    words: self.part(SectionKind::Present, feature, words)?,
                    ranks: self.part(SectionKind::PresentRanks, feature, words.div_ceil(RANK_WORDS))?,
                    checks: checks.clone(),
                })
            }
        };
        if values.count > rows || (values.count < rows && matches!(presence, Presence::Dense)) {
            return Err(self.blocks.damaged(values.offset, "a column has the wrong number of values"));
        }
        let of_column = match values.kind {
            SectionKind::Values | SectionKind::Strip => self.fixed(&values, data_type, checks)?,
            _ => self.stretches(&values, data_type, checks)?,
        };
        let away = values.away.then(|| self.away(&values, &presence, &of_column));
        Ok(Column::mapped(feature, presence, of_column.away(away)))
    }

    /// Where the `values` of a column come from.
    fn away(&self, values: &Section, presence: &Presence, column: &Mapped) -> Away {
        let (ice, region) = self.ice.as_ref().expect("a segment with cells that are away has ice");
        let rows = self.footer.meta.rows;
        let packed = match presence {
            Presence::Packed(packed) => Some(packed.clone()),
            _ => None,
        };
        let arrivals = column.fixed().map(|fixed| {
            let start =
                values.offset as usize + if values.kind == SectionKind::Strip { values.aux as usize } else { 0 };
            Arrivals::new(region.clone(), (start, fixed.width, fixed.stride), Away::pieces(rows))
        });
        Away::new(ice, values.feature, (rows, values.count), packed, arrivals)
    }

    fn fixed(&self, values: &Section, data_type: &DataType, checks: &Checks) -> Result<Mapped> {
        let (count, feature) = (values.count as usize, values.feature);
        let width = fixed_width(data_type)
            .ok_or_else(|| self.blocks.damaged(values.offset, &format!("values of {data_type} have no fixed width")))?;
        let (bytes, stride) = match values.kind {
            SectionKind::Strip => self.strip(values, width)?,
            _ => {
                let part: Elements<u8> = self.part(SectionKind::Values, feature, count.saturating_mul(width))?;
                (part.values.into_inner(), width)
            }
        };
        let (valid, valid_offset) = match self.footer.section(SectionKind::Valid, feature) {
            None => (None, 0),
            Some(_) => {
                let bits: Elements<u8> = self.part(SectionKind::Valid, feature, count.div_ceil(8))?;
                (Some(BooleanBuffer::new(bits.values.inner().clone(), 0, count)), bits.offset)
            }
        };
        let fixed = Fixed { width, stride, bytes, valid };
        let storage = FixedStorage { fixed, values_offset: values.offset, valid_offset };
        Ok(Mapped::fixed_width(data_type.clone(), values.count, checks.clone(), storage))
    }

    /// The bytes of a strip from the first value of `width` bytes on, and how far apart values are.
    fn strip(&self, section: &Section, width: usize) -> Result<(Buffer, usize)> {
        let (start, count, length) = (section.aux as usize, section.count as usize, section.length as usize);
        let stride = length.checked_div(count).unwrap_or(0);
        if stride * count != length || start.saturating_add(width) > stride {
            return Err(self.blocks.damaged(section.offset, "a strip has rows of the wrong length"));
        }
        let bytes = self.bytes_of(section);
        Ok((bytes.slice_with_length(start, length - start), stride))
    }

    /// The bytes of `section`, or where they will be.
    fn bytes_of(&self, section: &Section) -> Buffer {
        let (offset, length) = (section.offset as usize, section.length as usize);
        match &self.ice {
            Some((_, region)) if section.away => Buffer::from(region.bytes()).slice_with_length(offset, length),
            _ => self.bytes.slice_with_length(offset, length),
        }
    }

    fn stretches(&self, values: &Section, data_type: &DataType, checks: &Checks) -> Result<Mapped> {
        let feature = values.feature;
        let bytes = match values.away {
            // They arrive as arrays.
            true => Elements::in_memory(Vec::new()),
            false => self.part(SectionKind::Stretches, feature, values.length as usize)?,
        };
        let offsets = self.footer.section(SectionKind::StretchOffsets, feature).map_or(0, |of| of.length as usize / 8);
        let offsets = self.part(SectionKind::StretchOffsets, feature, offsets)?;
        let storage = StretchStorage::new(bytes, offsets, values.aux, values.count)
            .ok_or_else(|| self.blocks.damaged(values.offset, "a column has the wrong number of stretches"))?;
        Ok(Mapped::stretched(data_type.clone(), values.count, checks.clone(), storage))
    }

    /// The section of `kind`, which must have `count` elements. None of its bytes are touched.
    fn part<T: ArrowNativeType>(&self, kind: SectionKind, feature: u32, count: usize) -> Result<Elements<T>> {
        let Some(section) = self.footer.section(kind, feature) else {
            return Err(self.blocks.damaged(0, &format!("the section {kind:?} is missing")));
        };
        if count.checked_mul(size_of::<T>()).map(|bytes| bytes as u64) != Some(section.length) {
            let what =
                format!("the section {kind:?} has {} bytes, which is wrong for {count} elements", section.length);
            return Err(self.blocks.damaged(section.offset, &what));
        }
        let bytes = self.bytes_of(section);
        if bytes.as_ptr().align_offset(align_of::<T>()) != 0 {
            return Err(self.blocks.damaged(section.offset, &format!("the section {kind:?} is not aligned")));
        }
        Ok(Elements { values: ScalarBuffer::from(bytes), offset: section.offset })
    }

    /// As [`Opening::part`], with its bytes checked.
    fn checked<T: ArrowNativeType>(&self, kind: SectionKind, count: usize) -> Result<ScalarBuffer<T>> {
        let part = self.part(kind, 0, count)?;
        self.blocks.bytes(part.all())?;
        Ok(part.values)
    }
}
