//! The rows part of a segment: a segment with all but the values of its cells, which are away.
//!
//! It answers which rows there are, in which order, and which of them have a cell. Its own file, its own checksums: it is
//! a segment as any other, whose sections of values say that they are elsewhere.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::Result;
use crate::io::{Files, HUGE_BYTES, publish_in};
use crate::segment::format::{Section, SectionKind, padding};
use crate::segment::reader::{Opening, opening};
use crate::segment::writer::SegmentWriter;
use crate::segment::{SegmentMeta, file_name};

/// Writes and publishes the rows part of the segment `meta` as the segment `number`; `ice` describes the file with the cells.
pub(crate) fn write_rows_part(
    files: &Arc<dyn Files>,
    meta: &SegmentMeta,
    number: u64,
    ice: &[u8],
) -> Result<SegmentMeta> {
    let Opening { footer, bytes, blocks, .. } = opening(files, meta)?;
    let mut sections: Vec<&Section> = footer.sections.iter().collect();
    sections.sort_by_key(|section| section.offset);
    let mut written = None;
    publish_in(files, &file_name(number), HUGE_BYTES, |file| {
        let mut writer = SegmentWriter::new(file, number, &|_| {});
        let mut arrive = Arrive::default();
        footer.features.iter().for_each(|(feature, data_type)| writer.feature(*feature, data_type.clone()));
        for section in sections {
            if section.kind.holds_cells() {
                writer.away(section, arrive.at(section));
                continue;
            }
            let range = section.offset..section.offset + section.length;
            blocks.bytes(range.clone())?;
            writer.copy(section, &bytes[range.start as usize..range.end as usize])?;
        }
        writer.section(SectionKind::Ice, 0, ice)?;
        written = Some(writer.finish(SegmentMeta { number, ..meta.clone() }, footer.steps)?);
        Ok(())
    })?;
    Ok(written.expect("a published file was finished"))
}

/// Where sections arrive in memory.
#[derive(Default)]
struct Arrive {
    end: u64,
    /// By where they were in the file: the columns of a strip share one place.
    places: HashMap<u64, u64>,
}

impl Arrive {
    fn at(&mut self, section: &Section) -> u64 {
        if section.kind == SectionKind::Stretches {
            // They arrive as arrays.
            return 0;
        }
        let end = &mut self.end;
        *self.places.entry(section.offset).or_insert_with(|| {
            let start = *end;
            *end += section.length + padding(section.length) as u64;
            start
        })
    }
}
