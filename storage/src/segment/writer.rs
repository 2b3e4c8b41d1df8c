//! Streams a segment into a file: sections one after another, then the footer.
//!
//! What is held in memory is one block of output and one checksum per block; sections are as long as they become.

use arrow_buffer::{ArrowNativeType, ToByteSlice};
use arrow_schema::DataType;

use crate::checksum::{checksum, checksum64};
use crate::error::Result;
use crate::io::Append;
use crate::segment::SegmentMeta;
use crate::segment::checks::{BLOCK_BYTES, footer_bytes_max};
use crate::segment::format::{Footer, Section, SectionKind, TAIL_BYTES, header, padding, tail};

/// A segment that is being written.
pub(crate) struct SegmentWriter<'a> {
    file: &'a mut dyn Append,
    /// Told of every write, so that it can slow them down.
    throttle: &'a dyn Fn(u64),
    /// The block that is being filled.
    block: Vec<u8>,
    /// Bytes appended so far, those of the block included.
    offset: u64,
    checksums: Vec<u32>,
    sections: Vec<Section>,
    features: Vec<(u32, DataType)>,
}

impl<'a> SegmentWriter<'a> {
    /// Starts segment `number` in `file`.
    pub(crate) fn new(file: &'a mut dyn Append, number: u64, throttle: &'a dyn Fn(u64)) -> Self {
        let block = header(number).to_vec();
        let offset = block.len() as u64;
        let (checksums, sections, features) = (Vec::new(), Vec::new(), Vec::new());
        Self { file, throttle, block, offset, checksums, sections, features }
    }

    /// Says that there are sections of `feature`.
    pub(crate) fn feature(&mut self, feature: u32, data_type: DataType) {
        self.features.push((feature, data_type));
    }

    /// Starts a section; what is appended from now on is in it.
    pub(crate) fn begin(&mut self, kind: SectionKind, feature: u32) -> Result<()> {
        let zeros = [0; 64];
        self.append_bytes(&zeros[..padding(self.offset)])?;
        let offset = self.offset;
        let required = kind.is_required();
        self.sections.push(Section { kind, required, away: false, feature, count: 0, aux: 0, offset, length: 0 });
        Ok(())
    }

    /// Appends numbers to the section.
    pub(crate) fn append<T: ArrowNativeType>(&mut self, numbers: &[T]) -> Result<()> {
        self.append_bytes(numbers.to_byte_slice())
    }

    /// Appends bytes to the section.
    pub(crate) fn append_bytes(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.offset += bytes.len() as u64;
        while self.block.len() + bytes.len() >= BLOCK_BYTES as usize {
            let (now, later) = bytes.split_at(BLOCK_BYTES as usize - self.block.len());
            self.block.extend_from_slice(now);
            bytes = later;
            self.end_block()?;
        }
        self.block.extend_from_slice(bytes);
        Ok(())
    }

    /// How long the section is so far.
    pub(crate) fn section_length(&self) -> u64 {
        self.sections.last().map_or(0, |section| self.offset - section.offset)
    }

    /// Ends the section; `count` and `aux` are as its kind says.
    pub(crate) fn end(&mut self, count: u32, aux: u32) {
        let length = self.section_length();
        let section = self.sections.last_mut().expect("a section was begun");
        (section.count, section.aux, section.length) = (count, aux, length);
    }

    /// Ends the section as one of each of `features`: it is a strip of `count` rows, in which the cells of the feature
    /// start where it says.
    pub(crate) fn end_strip(&mut self, count: u32, features: impl Iterator<Item = (u32, u32)>) {
        self.end(count, 0);
        let strip = self.sections.pop().expect("a section was begun");
        self.sections.extend(features.map(|(feature, aux)| Section { feature, aux, ..strip }));
    }

    /// Lists `section`, whose bytes arrive at `offset` when they are asked for.
    pub(crate) fn away(&mut self, section: &Section, offset: u64) {
        assert!(section.kind.holds_cells(), "only cells may be away");
        self.sections.push(Section { away: true, offset, ..*section });
    }

    /// Copies a section that begins with `bytes`.
    pub(crate) fn copy(&mut self, section: &Section, bytes: &[u8]) -> Result<()> {
        self.begin(section.kind, section.feature)?;
        self.append_bytes(bytes)?;
        self.end(section.count, section.aux);
        Ok(())
    }

    /// Writes a section of numbers.
    pub(crate) fn section<T: ArrowNativeType>(&mut self, kind: SectionKind, feature: u32, of: &[T]) -> Result<()> {
        self.begin(kind, feature)?;
        self.append(of)?;
        self.end(of.len() as u32, 0);
        Ok(())
    }

    /// Writes the footer; `meta` lacks length and checksum, which are returned in it. The caller syncs and publishes.
    pub(crate) fn finish(mut self, meta: SegmentMeta, steps: u32) -> Result<SegmentMeta> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        let (sections, mut features, checksums) = (self.sections, self.features, self.checksums);
        features.sort_unstable_by_key(|(feature, _)| *feature);
        assert!(features.is_sorted_by(|a, b| a.0 < b.0), "each feature is written once");
        let footer = Footer { meta, steps, sections, features, checksums };
        let bytes = footer.encode();
        assert!(bytes.len() as u64 <= footer_bytes_max(self.offset), "a footer of {} bytes", bytes.len());
        let footer_crc = checksum64(&bytes);
        self.file.append(&bytes)?;
        self.file.append(&tail(bytes.len() as u64, footer_crc))?;
        let length = self.offset + bytes.len() as u64 + TAIL_BYTES;
        Ok(SegmentMeta { length, footer_crc, ..footer.meta })
    }

    fn end_block(&mut self) -> Result<()> {
        self.checksums.push(checksum(&self.block));
        self.file.append(&self.block)?;
        (self.throttle)(self.block.len() as u64);
        self.block.clear();
        Ok(())
    }
}
